"""The oracle sees what it is there to see, and the table tells it."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.faults import summary
from tests.faults.__main__ import PAGE
from tests.faults.load import Acknowledged
from tests.faults.oracle import Verdict, judge, unreported
from tests.faults.rounds import Report

Row = dict[str, object]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def put(entity: str, version: int) -> Row:
    return {"kind": "customer.put", "entity": entity, "path": "", "body": {"v": version}}


def order(entity: str, version: int, kind: str = "order.patch") -> Row:
    return {"kind": kind, "entity": entity, "path": "", "body": {"v": version}}


def coupon(code: str, amount: str = "5.00", kind: str = "coupon.create") -> Row:
    return {"kind": kind, "entity": f"coupon:{code}", "path": f"/{code}", "body": {"code": code, "amount": amount}}


WELL = (
    [
        put("customer:1", 1),
        order("order:1", 1, "order.post"),
        put("customer:1", 3),
        order("order:1", 1),
        order("order:1", 2),
    ],
    [coupon("aa")],
)


def verdict(platform: list[Row], shop: list[Row]) -> Verdict:
    return judge(Acknowledged({"customer:1": [1, 2, 3], "order:1": [1, 2]}, {"aa"}), platform, shop)


def test_collapsed_customers_and_repeated_updates_are_well() -> None:
    assert verdict(*WELL).clean()


def test_a_coupon_that_was_used_must_be_told() -> None:
    spent = Acknowledged(spent={"aa"})
    assert judge(spent, [], []).lost == ["coupon aa: used, never reported"]
    assert judge(spent, [{"kind": "reward.use", "entity": "coupon:AA", "path": "", "body": None}], []).clean()


def test_only_what_was_acknowledged_in_the_reported_time_may_be_missing() -> None:
    acknowledged = Acknowledged({"customer:1": [1], "customer:2": [1]}, {"aa"})
    for minute, what in enumerate(("customer:1", "customer:2", "coupon aa")):
        acknowledged.times[what].append(NOON + timedelta(minutes=minute))
    found = judge(acknowledged, [], [])
    assert len(found.lost) == 3
    [missing] = unreported(found, acknowledged, NOON + timedelta(seconds=1), NOON + timedelta(minutes=2))
    assert missing.startswith("customer:1 is missing")


@pytest.mark.parametrize(
    ("what", "platform", "shop"),
    [
        ("lost", WELL[0][:2] + WELL[0][3:], WELL[1]),
        ("lost", WELL[0][:-1], WELL[1]),
        ("lost", WELL[0], []),
        ("doubled", [*WELL[0], order("order:1", 2, "order.post")], WELL[1]),
        ("doubled", WELL[0], [coupon("aa"), coupon("AA")]),
        ("disordered", [*WELL[0], put("customer:1", 1)], WELL[1]),
        ("disordered", [*WELL[0], order("order:1", 1)], WELL[1]),
        ("wrong", WELL[0], [coupon("aa", "6.00")]),
        ("wrong", WELL[0], [coupon("aa"), coupon("aa", kind="coupon.delete")]),
    ],
)
def test_what_went_wrong_is_named(what: str, platform: list[Row], shop: list[Row]) -> None:
    found = verdict(platform, shop)
    assert {name for name in ("lost", "doubled", "disordered", "wrong") if getattr(found, name)} == {what}


def test_the_table_and_the_last_line_count_everything() -> None:
    bad = Report("a fault", verdict=Verdict(lost=["x"], doubled=["y", "z"]), stale=1, identity=["w"], recovery=[1, 3])
    reports = [bad, Report("a fault", recovery=[2]), Report("another", skipped="no such thing here")]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in summary.table(reports).splitlines()[2:]]
    assert cells == [
        ["a fault", "2", "1", "2", "0", "2.0, 3.0"],
        ["another", "skipped", "", "", "", "no such thing here"],
    ]
    assert json.loads(summary.last_line(reports)) == {
        "rounds": 2,
        "lost": 1,
        "duplicated": 2,
        "disordered": 0,
        "stale_settles": 1,
        "identity_violations": 1,
    }


def test_the_page_has_a_place_for_the_table() -> None:
    page = summary.documented(PAGE.read_text(), [Report("a fault")], "today")
    assert "| a fault | 1 " in page
    assert summary.documented(page, [Report("a fault")], "today") == page
