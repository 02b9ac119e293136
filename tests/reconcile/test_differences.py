"""The cause class of every difference between the store, the relay and the Platform."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from platform_relay.core.reasons import ReasonCode, because
from platform_relay.imports.importer import OLDEST
from platform_relay.inbox.events import EventKind
from platform_relay.reconcile.differences import CAUSES, RelaySnapshot, StoreSnapshot, compare

NOON = datetime(2026, 5, 11, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
JOB, FETCH = UUID(int=1), UUID(int=2)
WELL = RelaySnapshot(NOON, NOON, "done", exists_remotely=True, identical=True, job_id=JOB)


def held(**values: object) -> RelaySnapshot:
    return RelaySnapshot(**{**{name: getattr(WELL, name) for name in RelaySnapshot.__dataclass_fields__}, **values})


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
    ("skipped as unchanged", StoreSnapshot("1", NOON, "k"), held(state="skipped"), NOON, None, ""),
]


@pytest.mark.parametrize(
    ("shop", "relay", "listening", "cause", "text"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_cause_class(
    shop: StoreSnapshot, relay: RelaySnapshot, listening: datetime | None, cause: str | None, text: str
) -> None:
    difference = compare(EventKind.ORDER, shop, relay, listening)
    assert (difference.cause if difference else None) == cause
    if difference:
        assert text in difference.detail
        assert difference.version == shop.version
        assert difference.job_id == (relay.failed_fetch or relay.job_id if cause == "rejected" else None)


def test_every_class_that_one_entity_shows_is_here() -> None:
    assert {case[4] for case in CASES} - {None} == set(CAUSES) - {"extra"}
