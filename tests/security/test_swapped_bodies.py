"""Somebody with access to the database moves encrypted bodies, or replaces one by plain text."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay.alerts.alerts import open_alerts
from platform_relay.checks.configuration import watch_plain_bodies
from platform_relay.core.database import create_engine
from platform_relay.core.encryption import KeyRing, Purpose, UnreadableBodyError
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.inbox.reencrypt import encrypt_bodies
from platform_relay.inbox.stored_customers import Customers
from platform_relay.jobs.queries import find_job
from tests.database.engine_room import claim
from tests.explain.scene import Scene, answered

RING = KeyRing({"new": b"n" * 32})
PURPOSES: tuple[Purpose, ...] = ("body", "event", "excerpt")


@given(st.uuids(), st.binary(max_size=100), st.sampled_from(PURPOSES), st.sampled_from(PURPOSES))
def test_a_body_is_read_for_its_own_purpose_only(owner: UUID, body: bytes, purpose: Purpose, other: Purpose) -> None:
    encrypted = RING.encrypt(owner, body, purpose)
    if purpose == other:
        assert RING.decrypt(owner, "new", encrypted, other) == body
        return
    with pytest.raises(UnreadableBodyError):
        RING.decrypt(owner, "new", encrypted, other)


@pytest.fixture
async def encrypting(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database_url, application_name="test", body_keys=RING)
    yield engine
    await engine.dispose()


async def change(engine: AsyncEngine, statement: str, **values: object) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement), values)


async def test_a_body_in_the_place_of_the_event_is_not_sent(encrypting: AsyncEngine) -> None:
    await Scene(encrypting).customer("42", email="ada@example.com")
    await change(encrypting, "UPDATE message SET event = body")
    [job] = await claim(encrypting)
    assert (job.body, job.unreadable) == (b"", because(ReasonCode.BODY_KEY_WRONG, key="new"))
    with pytest.raises(UnreadableBodyError):
        await Customers(encrypting).newest("42")


async def test_an_excerpt_in_the_place_of_another_of_its_job_is_not_shown(encrypting: AsyncEngine) -> None:
    scene = Scene(encrypting)
    await scene.customer("42", email="ada@example.com")
    job_id = (await scene.run(answered(500, "the first words"))).id
    await change(encrypting, "UPDATE lane SET run_at = now()")
    await scene.run(answered(422, "the second words"))
    async with encrypting.connect() as connection:
        job = await find_job(connection, job_id)
    assert job is not None
    excerpts = [attempt.excerpt or "" for attempt in job.attempts]
    assert ["first words" in excerpts[0], "second words" in excerpts[1]] == [True, True]
    await change(
        encrypting,
        "UPDATE attempt SET excerpt = other.excerpt FROM attempt AS other"
        " WHERE other.job_id = attempt.job_id AND other.fencing_token <> attempt.fencing_token",
    )
    async with encrypting.connect() as connection:
        job = await find_job(connection, job_id)
    assert job is not None
    assert len(job.attempts) == 2
    for attempt in job.attempts:
        assert "words" not in (attempt.excerpt or "")
        assert because(ReasonCode.BODY_KEY_WRONG, key="new").text in (attempt.excerpt or "")


async def test_a_plain_body_after_the_first_use_of_a_key_raises_an_alert(
    encrypting: AsyncEngine, engine: AsyncEngine
) -> None:
    async def alerts() -> list[ReasonCode]:
        await watch_plain_bodies(encrypting)
        async with encrypting.connect() as connection:
            return [alert.reason.code for alert in await open_alerts(connection)]

    await Scene(engine).customer("41", email="before@example.com")  # before BODY_KEYS was set
    assert await alerts() == []
    await Scene(encrypting).customer("42", email="ada@example.com")
    await Scene(encrypting).customer("43", email="bob@example.com")
    assert await alerts() == []
    await change(
        encrypting,
        "UPDATE message SET body = :body, encrypted_with = NULL WHERE customer_ref = '43'",
        body=b'{"id":"43"}',
    )
    assert await alerts() == [ReasonCode.BODY_NOT_ENCRYPTED]
    await encrypt_bodies(encrypting)
    assert await alerts() == []
