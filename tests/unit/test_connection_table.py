"""Which connection is closed for a new one: the longest idle, never a busy one, and health checks have a reserve."""

from hypothesis import given
from hypothesis import strategies as st

from platform_relay.api.connection_table import RESERVE, ConnectionTable, Limit

TOTAL, IDLE, PER_ADDRESS, IDLE_PER_ADDRESS = 8, 6, 4, 3
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.sampled_from(["a", "b", "c", None])),
        st.tuples(st.sampled_from(["busy", "idle", "end"]), st.integers(0, 40)),
    ),
    max_size=60,
)


@given(EVENTS)
def test_no_limit_is_exceeded_and_only_idle_connections_are_closed(events: list[tuple[str, object]]) -> None:
    table: ConnectionTable[int] = ConnectionTable(TOTAL, IDLE, PER_ADDRESS, IDLE_PER_ADDRESS)
    addresses: dict[int, str | None] = {}  # the open connections
    busy: set[int] = set()
    reserve: list[int] = []
    for number, (what, subject) in enumerate(events):
        if what == "open":
            address = subject if isinstance(subject, str) else None
            admission = table.add(number, address)
            closed = admission.close
            addresses[number] = address
            if admission.reserve:
                reserve.append(number)
        elif subject not in addresses or not isinstance(subject, int):
            continue
        elif what == "end":
            closed = [subject]
        elif what == "busy":
            table.set_busy(subject)
            busy.add(subject)
            closed = []
        else:
            busy.discard(subject)
            exceeded = table.set_idle(subject)
            closed = exceeded.close if exceeded else []
        for connection in closed:
            assert what == "end" or connection in reserve or connection not in busy
            table.remove(connection, addresses.pop(connection))
            busy.discard(connection)
            if connection in reserve:
                reserve.remove(connection)
        counted = {one: address for one, address in addresses.items() if one not in reserve}
        assert len(counted) <= TOTAL
        assert len(counted.keys() - busy) <= IDLE
        assert len(reserve) <= RESERVE
        for address in ("a", "b", "c"):
            of_address = {one for one, other in counted.items() if other == address}
            assert len(of_address) <= PER_ADDRESS
            assert len(of_address - busy) <= IDLE_PER_ADDRESS


def test_the_longest_idle_connection_is_closed_first() -> None:
    table: ConnectionTable[str] = ConnectionTable(3, 3, 3, 3)
    for connection in ("first", "second", "third"):
        table.add(connection, connection)
    table.set_busy("first")
    table.set_idle("first")
    admission = table.add("fourth", "fourth")
    assert (admission.close, admission.reached, admission.reserve) == (["second"], [Limit.TOTAL], False)


def test_a_new_connection_gets_the_reserve_when_none_is_idle() -> None:
    table: ConnectionTable[int] = ConnectionTable(2, 2, 2, 2)
    for connection in range(2):
        table.add(connection, None)
        table.set_busy(connection)
    admissions = [table.add(connection, None) for connection in range(2, 3 + RESERVE)]
    assert all(admission.reserve for admission in admissions)
    assert [admission.close for admission in admissions] == [[]] * RESERVE + [[2]]
    table.remove(0, None)
    assert not table.add(99, None).reserve


def test_an_address_with_many_connections_does_not_end_the_health_checks_of_others() -> None:
    """The attack: every place is taken, and the attacker opens more and more connections."""
    table: ConnectionTable[object] = ConnectionTable(1, 1, 1, 1)
    table.add("busy", "attacker")
    table.set_busy("busy")
    table.add("health check", "monitoring")
    closed = [one for number in range(5 * RESERVE) for one in table.add(number, "attacker").close]
    assert closed == list(range(len(closed)))
    assert len(closed) == 4 * RESERVE + 1
    assert table.add("next health check", "monitoring").close == [len(closed)]
