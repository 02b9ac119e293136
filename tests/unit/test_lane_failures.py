"""Whose failure is it: one lane's own, or the destination's? By the times of calls and responses alone."""

from platform_relay.queue.lane_failures import LANES, LONGEST_DOUBT, MOST, RECENT, LaneFailures

LATER = 100.0
"""Seconds after which no success is recent."""


def refused(lanes: LaneFailures, lane: str, now: float, status: int = 403) -> str:
    """What a response concerns that names no cause; the lane waits as after `Undecided`."""
    result = lanes.compare(lane, status, now)
    lanes.failed(lane, status, now, nameless=True, parked=result == "undecided")
    return result


def test_the_first_response_decides_nothing() -> None:
    assert refused(LaneFailures(), "order:1", 1.0) == "undecided"


def test_a_success_that_started_later_makes_it_the_lanes_own() -> None:
    lanes = LaneFailures()
    refused(lanes, "order:1", 10.0)
    assert lanes.succeeded("order:2", started=10.1, now=10.2)
    assert refused(lanes, "order:1", 11.0) == "lane"


def test_a_success_that_started_earlier_decides_nothing() -> None:
    """The key may have been revoked between that call and this response."""
    lanes = LaneFailures()
    refused(lanes, "order:1", 10.0)
    assert not lanes.succeeded("order:2", started=9.9, now=12.0)
    assert refused(lanes, "order:1", LATER) == "undecided"


def test_each_success_explains_one_response() -> None:
    """A key that is revoked later costs a lane that was refused before one attempt, and not all of them."""
    lanes = LaneFailures()
    refused(lanes, "order:1", 10.0)
    lanes.succeeded("order:2", started=11.0, now=11.1)
    assert [refused(lanes, "order:1", LATER + second) for second in range(3)] == ["lane", "undecided", "undecided"]


def test_another_status_is_another_matter() -> None:
    lanes = LaneFailures()
    refused(lanes, "order:1", 10.0, status=404)
    lanes.succeeded("order:2", started=11.0, now=11.1)
    assert refused(lanes, "order:1", LATER, status=403) == "undecided"


def test_the_same_response_on_several_lanes_concerns_the_destination() -> None:
    lanes = LaneFailures()
    results = [refused(lanes, f"order:{number}", 10.0) for number in range(LANES)]
    assert results == ["undecided"] * (LANES - 1) + ["destination"]


def test_one_lane_again_and_again_is_one_lane() -> None:
    lanes = LaneFailures()
    assert {refused(lanes, "order:1", 10.0 + second) for second in range(20)} == {"undecided"}


def test_different_statuses_are_not_added_up() -> None:
    lanes = LaneFailures()
    assert {refused(lanes, f"order:{status}", 10.0, status=status) for status in (403, 404, 405, 406)} == {"undecided"}


def test_after_a_recent_success_any_number_of_lanes_decides_nothing() -> None:
    lanes = LaneFailures()
    lanes.succeeded("order:0", started=9.0, now=10.0)
    assert {refused(lanes, f"order:{number}", 10.0 + RECENT / 2) for number in range(1, 40)} == {"undecided"}
    assert refused(lanes, "order:99", 10.0 + RECENT) == "destination"


def test_a_lane_without_others_is_not_in_doubt_for_ever() -> None:
    """A store with one customer: its key may be revoked, and nobody would learn of it."""
    lanes = LaneFailures()
    assert refused(lanes, "order:1", 10.0) == "undecided"
    assert refused(lanes, "order:1", 10.0 + LONGEST_DOUBT) == "undecided"
    assert refused(lanes, "order:1", 10.0 + LONGEST_DOUBT + 1) == "destination"


def test_a_success_of_the_lane_ends_its_doubt() -> None:
    lanes = LaneFailures()
    refused(lanes, "order:1", 10.0)
    assert not lanes.succeeded("order:1", started=11.0, now=11.1)
    assert refused(lanes, "order:1", LATER) == "undecided"


def test_parked_lanes_are_woken_once() -> None:
    lanes = LaneFailures()
    refused(lanes, "order:1", 10.0)
    assert [lanes.succeeded("order:2", started=11.0, now=11.1) for _ in range(2)] == [True, False]


def test_a_closure_forgets_the_successes_before_it() -> None:
    """The attempts of a revoked key do not count, whatever succeeded before it was revoked."""
    lanes = LaneFailures()
    refused(lanes, "order:1", 10.0)
    lanes.succeeded("order:2", started=11.0, now=11.1)
    lanes.closed()
    lanes.opened(20.0)
    assert refused(lanes, "order:1", 20.1) == "undecided"


def test_after_a_closure_only_responses_without_a_cause_are_remembered() -> None:
    lanes = LaneFailures()
    refused(lanes, "order:1", 10.0)
    lanes.failed("order:2", 503, 10.0)
    lanes.succeeded("order:3", started=11.0, now=11.1)
    lanes.opened(11.1)
    assert refused(lanes, "order:1", 12.0) == "lane"
    assert not lanes.is_own("order:2")


def test_a_failure_after_a_success_that_started_later_is_the_lanes_own() -> None:
    lanes = LaneFailures()
    assert not lanes.is_own("order:1")
    lanes.failed("order:1", 500, 10.0)
    assert not lanes.is_own("order:1")
    lanes.succeeded("order:2", started=11.0, now=11.1)
    assert lanes.is_own("order:1")
    lanes.failed("order:1", 500, 12.0)
    assert not lanes.is_own("order:1")


def test_only_so_many_lanes_are_remembered() -> None:
    lanes = LaneFailures()
    for number in range(MOST + 1):
        lanes.failed(f"order:{number}", 500, 1.0)
    lanes.succeeded("customer:1", started=2.0, now=2.0)
    assert [lanes.is_own("order:0"), lanes.is_own("order:1")] == [False, True]
