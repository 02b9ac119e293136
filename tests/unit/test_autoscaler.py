"""The test scaler does what Kubernetes documents, with the rules of deploy/kubernetes/base/autoscaler.yaml."""

from benchmarks.autoscaler import SYNC_PERIOD, Autoscaler, turns
from benchmarks.autoscaling import metric


def decisions(values: list[float | None], start: int = 1) -> list[int]:
    """The replicas after each decision, all pods being ready."""
    scaler, current, result = Autoscaler.from_manifest(least=1, most=8), start, []
    for number, value in enumerate(values):
        current = scaler.desired(number * SYNC_PERIOD, current, current, value)
        result.append(current)
    return result


def test_the_ratio_of_the_metric_to_its_target_decides() -> None:
    assert decisions([10.0]) == [2]
    assert decisions([5.4, 4.6], start=3) == [3, 3], "within 10 % nothing changes"
    assert decisions([None], start=3) == [3], "a metric that cannot be read changes nothing"


def test_it_grows_by_at_most_four_or_to_twice_as_many_in_fifteen_seconds() -> None:
    assert decisions([60.0] * 3) == [5, 8, 8]
    scaler = Autoscaler.from_manifest(least=1, most=100)
    assert scaler.desired(0, 10, 10, 600.0) == 20
    assert scaler.desired(5, 20, 20, 600.0) == 20, "the period has not passed"
    assert scaler.desired(20, 20, 20, 600.0) == 40


def test_pods_that_are_not_ready_do_not_count() -> None:
    scaler = Autoscaler.from_manifest(least=1, most=8)
    assert scaler.desired(0, 4, 1, 15.0) == 4, "3 are recommended: fewer, and the window keeps what there is"
    assert scaler.desired(15, 4, 4, 15.0) == 8


def test_workers_leave_one_by_one_after_ten_minutes() -> None:
    late, calm = [60.0] * 3, [0.0] * 80
    replicas = decisions([*late, *calm])
    assert replicas[:3] == [5, 8, 8]
    kept = int(600 / SYNC_PERIOD)
    assert replicas[3 : 2 + kept] == [8] * (kept - 1)
    assert turns(replicas) == 1
    steps = [before - after for before, after in zip(replicas[2 + kept :], replicas[3 + kept :], strict=False)]
    assert max(steps) == 1


def simulate(needed: float, minutes: float) -> list[int]:
    """A steady load that `needed` workers carry: with fewer, the oldest due job grows older."""
    scaler, current, age, result = Autoscaler.from_manifest(least=2, most=8), 2, 0.0, []
    for step in range(int(minutes * 60 / SYNC_PERIOD)):
        age = max(0.0, age + SYNC_PERIOD * (1 - current / needed))
        current = scaler.desired(step * SYNC_PERIOD, current, current, age)
        result.append(current)
    return result


def test_under_a_steady_load_it_tries_one_worker_less_and_takes_it_back() -> None:
    """The metric is 0 with enough workers, so it does not say how many there may be less. All at once would be late."""
    replicas = simulate(3.5, 240)
    after = replicas[len(replicas) // 2 :]
    assert 3 <= min(after) <= 4 <= max(after) <= 6, after
    assert turns(after) <= 24, "one attempt in ten minutes"


def test_the_metric_is_that_of_the_manifests_query() -> None:
    exposition = """
relay_oldest_due_seconds{destination="platform"} 7.0
relay_oldest_due_seconds{destination="store"} 900.0
relay_destination_open{destination="platform",state="open"} 1.0
relay_destination_open{destination="store",state="paused"} 0.0
"""
    assert metric(exposition) == 7.0
    assert metric("relay_database_up 0.0\n") is None
