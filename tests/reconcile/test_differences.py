"""The cause class of every difference between the store, the relay and the Platform."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.messages import OLDEST
from platform_relay.platform.fields import Fields
from platform_relay.reconcile.content import Content, content_of, is_part_of
from platform_relay.reconcile.differences import CAUSES, RelaySnapshot, StoreSnapshot, compare

NOON = datetime(2026, 5, 11, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
JOB, FETCH = UUID(int=1), UUID(int=2)
WELL = RelaySnapshot(NOON, NOON, "done", exists_remotely=True, identical=True, job_id=JOB)


def held(**values: object) -> RelaySnapshot:
    return RelaySnapshot(**{**{name: getattr(WELL, name) for name in RelaySnapshot.__dataclass_fields__}, **values})


def has(digest: bytes, version: datetime = NOON) -> StoreSnapshot:
    """What the store lists, with this content."""
    return StoreSnapshot("1", version, "k", content=Content(digest, ()))


NOTHING = RelaySnapshot()
REJECTED = because(ReasonCode.REJECTED_BY_DESTINATION, destination="the Platform", status=422)
FAILED = because(ReasonCode.SERVER_ERROR, destination="the store", status=500)
CASES: list[tuple[str, StoreSnapshot, RelaySnapshot, datetime | None, str | None, str]] = [
    ("well", StoreSnapshot("1", NOON, "k"), WELL, NOON, None, ""),
    ("from before the relay", StoreSnapshot("1", NOON, "k"), NOTHING, LATER, "never_sent", "never sent it"),
    ("no event of its kind ever", StoreSnapshot("1", NOON, "k"), NOTHING, None, "never_sent", "never sent it"),
    (
        "superseded by a version of the future",
        StoreSnapshot("1", NOON, "k"),
        held(state="superseded", reason=because(ReasonCode.NEWER_VERSION_AHEAD)),
        NOON,
        "stale",
        "in the future",
    ),
    ("new, without a time", StoreSnapshot("1", None, "k"), NOTHING, NOON, "never_sent", "never sent it"),
    ("new while listening", StoreSnapshot("1", LATER, "k"), NOTHING, NOON, "lost_by_webhook", "did not send it"),
    (
        "changed while listening",
        StoreSnapshot("1", LATER, "k"),
        WELL,
        NOON,
        "lost_by_webhook",
        "the newest version received is of",
    ),
    (
        "changed, an older one waits",
        StoreSnapshot("1", LATER, "k"),
        held(state="waiting"),
        NOON,
        "lost_by_webhook",
        "newest",
    ),
    (
        "changed, an older one is dead",
        StoreSnapshot("1", LATER, "k"),
        held(state="dead"),
        NOON,
        "lost_by_webhook",
        "newest",
    ),
    (
        "no time, shown otherwise",
        StoreSnapshot("1", None, "k"),
        held(identical=False),
        NOON,
        "lost_by_webhook",
        "another version",
    ),
    ("no time, shown alike", StoreSnapshot("1", None, "k"), WELL, NOON, None, ""),
    ("fractions not reported", StoreSnapshot("1", NOON + timedelta(milliseconds=700), "k"), WELL, NOON, None, ""),
    ("a second later", StoreSnapshot("1", NOON + timedelta(seconds=1), "k"), WELL, NOON, "lost_by_webhook", "newest"),
    ("reported without a time, after it changed", StoreSnapshot("1", NOON, "k"), held(version=LATER), NOON, None, ""),
    ("dead", StoreSnapshot("1", NOON, "k"), held(state="dead", reason=REJECTED), NOON, "rejected", REJECTED.text),
    (
        "named, and could not be fetched",
        StoreSnapshot("1", LATER, "k"),
        held(failed_fetch=FETCH, failed_fetch_reason=FAILED),
        NOON,
        "rejected",
        f"could not be read from the store: {FAILED.text}",
    ),
    (
        "named alone, and could not be fetched",
        StoreSnapshot("1", LATER, "k"),
        RelaySnapshot(failed_fetch=FETCH, failed_fetch_reason=FAILED),
        NOON,
        "rejected",
        "could not be read",
    ),
    (
        "never seen there",
        StoreSnapshot("1", NOON, "k"),
        held(exists_remotely=False),
        NOON,
        "stale",
        "never saw that the Platform has it",
    ),
    (
        "a file without versions",
        StoreSnapshot("1", NOON, "k"),
        held(version=OLDEST),
        NOON,
        "stale",
        "imported from a file",
    ),
    (
        "changed after the file",
        StoreSnapshot("1", LATER, "k"),
        held(version=OLDEST, received_at=NOON),
        NOON,
        "lost_by_webhook",
        "after it was imported from a file",
    ),
    ("waits", StoreSnapshot("1", NOON, "k"), held(state="waiting", exists_remotely=False), NOON, None, ""),
    ("runs", StoreSnapshot("1", NOON, "k"), held(state="running", exists_remotely=False), NOON, None, ""),
    ("the store is being asked", StoreSnapshot("1", LATER, "k"), RelaySnapshot(fetching=True), NOON, None, ""),
    (
        "dropped by an operator",
        StoreSnapshot("1", NOON, "k"),
        held(state="dropped", exists_remotely=False),
        NOON,
        None,
        "",
    ),
    ("the time moved, the content did not", has(b"a", LATER), held(digest=b"a"), NOON, None, ""),
    (
        "dead, and the content of before is back",
        has(b"a"),
        held(digest=b"a", state="dead", reason=REJECTED),
        NOON,
        None,
        "",
    ),
    ("another content at the same time", has(b"a"), held(digest=b"b"), NOON, "stale", "another content"),
    ("another content, being delivered", has(b"a"), held(digest=b"b", state="waiting"), NOON, None, ""),
    ("another content, dropped by an operator", has(b"a"), held(digest=b"b", state="dropped"), NOON, None, ""),
    (
        "another content, received after the list was read",
        has(b"a"),
        held(digest=b"b", received_at=LATER),
        NOON,
        None,
        "",
    ),
    ("another content and a later time", has(b"a", LATER), held(digest=b"b"), NOON, "lost_by_webhook", "newest"),
    ("what was delivered is not known", has(b"a"), held(digest=None), NOON, None, ""),
    (
        "an order without a customer, which is not sent",
        has(b"a"),
        held(state="skipped", reason=because(ReasonCode.NO_BUYER), exists_remotely=False),
        NOON,
        None,
        "",
    ),
    ("skipped as unchanged", StoreSnapshot("1", NOON, "k"), held(state="skipped"), NOON, None, ""),
]


@pytest.mark.parametrize(
    ("shop", "relay", "listening", "cause", "text"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_cause_class(
    shop: StoreSnapshot, relay: RelaySnapshot, listening: datetime | None, cause: str | None, text: str
) -> None:
    difference = compare(EventKind.ORDER, shop, relay, listening, NOON)
    assert (difference.cause if difference else None) == cause
    if difference:
        assert text in difference.detail
        assert difference.version == shop.version
        assert difference.job_id == (relay.failed_fetch or relay.job_id if cause == "rejected" else None)


def test_every_class_that_one_entity_shows_is_here() -> None:
    assert {case[4] for case in CASES} - {None} == set(CAUSES) - {"extra"}


FULL = {
    "id": "1", "financialStatus": "paid", "currency": "EUR", "totalPrice": "9.00",
    "discountCodes": [{"code": "A", "amount": "1.00"}], "lineItems": [{"productId": "7", "quantity": 1}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "is_part"),
    [
        ({}, True),
        ({"discountCodes": [{"code": "A"}]}, True),
        ({"lineItems": None}, True),
        ({"totalPrice": "9.10"}, False),
        ({"discountCodes": []}, False),
        ({"discountCodes": [{"code": "B"}]}, False),
        ({"email": "a@example.com"}, False),
    ],
)
def test_a_list_with_fewer_fields_than_the_webhook_shows_no_difference(
    changes: dict[str, object], *, is_part: bool
) -> None:
    def content(fields: Mapping[str, object]) -> Content:
        present = {name: value for name, value in fields.items() if value is not None}
        result = content_of(EventKind.ORDER, json.dumps(present).encode(), Fields({}))
        assert result is not None
        return result

    assert is_part_of(content({**FULL, **changes}), content(FULL)) is is_part
