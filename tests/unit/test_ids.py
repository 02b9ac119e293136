"""Ids by their time."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import uuid_utils.compat

from platform_relay.core.ids import first_id, moment_of


def test_the_first_id_of_a_time_is_below_those_that_are_made_then() -> None:
    made = uuid_utils.compat.uuid7()
    moment = moment_of(made)
    assert moment is not None
    assert first_id(moment) < made < first_id(moment + timedelta(milliseconds=2))


def test_before_the_first_time_there_is_no_id() -> None:
    assert first_id(datetime(1066, 10, 14, tzinfo=UTC)) == UUID(int=0)
