"""docs/platform-contract.md lists what the code assumes, and the code assumes nothing that is not listed."""

from platform_relay.platform.fields import ASSUMPTIONS
from platform_relay.platform.verify.assumptions import BY_ID, CONTRACT
from platform_relay.platform.verify.observations import Observations
from platform_relay.platform.verify.verdicts import CHECKS, verdicts
from tests.docs.contract_page import PAGE, page


def test_the_table_is_that_of_the_code() -> None:
    """If this fails: python -m tests.docs.contract_page"""
    assert PAGE.read_text("utf-8") == page()


def test_every_entry_of_the_table_of_fields_is_an_assumption_of_the_contract() -> None:
    assert sorted(set(ASSUMPTIONS) - set(BY_ID)) == []
    assert len(BY_ID) == len(CONTRACT)
    assert set(CHECKS) <= set(BY_ID)
    for key in ASSUMPTIONS:
        assert BY_ID[key].setting == f"PLATFORM__FIELDS {key}"


def test_without_any_response_nothing_is_refuted() -> None:
    results = verdicts(Observations({}))
    assert [verdict.id for verdict in results] == [item.id for item in CONTRACT]
    assert {verdict.id for verdict in results if verdict.result == "refuted"} == set()
