"""Jobs as the queue passes them to handlers, and the clients of the destinations that the handlers call."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from pydantic import HttpUrl, SecretStr
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from platform_relay.core.http import HttpClient
from platform_relay.core.models import Attempt, Message
from platform_relay.core.models import Job as JobRow
from platform_relay.core.reasons import Reason, ReasonCode
from platform_relay.platform.client import PlatformClient
from platform_relay.queue.jobs import Job
from platform_relay.setting_groups import PlatformSettings

NO_MESSAGE: UUID = uuid7()


def job(
    kind: str,
    body: Mapping[str, object] | bytes,
    *,
    message_id: UUID = NO_MESSAGE,
    params: Mapping[str, str] | None = None,
    attempt: int = 1,
    uncertain: bool = False,
    exists_remotely: bool = False,
    delivered_digest: bytes | None = None,
    age: float = 0.0,
    identifier: UUID | None = None,
) -> Job:
    return Job(
        id=identifier or uuid7(),
        message_id=message_id,
        kind=kind,
        destination="platform",
        lane="lane",
        seq=1,
        fencing_token=1,
        attempt=attempt,
        uncertain=uncertain,
        collapse=False,
        body=body if isinstance(body, bytes) else json.dumps(body).encode(),
        params=params or {},
        version=None,
        depends_on=None,
        exists_remotely=exists_remotely,
        delivered_digest=delivered_digest,
        delivered_version=None,
        must_wait=False,
        age=age,
    )


def client_of(http: HttpClient, url: str, **settings: object) -> PlatformClient:
    values = {"url": HttpUrl(url), "launcher_url": HttpUrl(url), "api_key": SecretStr("sim-platform-key"), **settings}
    return PlatformClient(http, PlatformSettings.model_validate(values))


async def store_message(engine: AsyncEngine, kind: str, body: bytes = b"{}", customer: str | None = None) -> UUID:
    """A message as the inbox would have stored it."""
    identifier = uuid7()
    async with engine.begin() as connection:
        await connection.execute(
            insert(Message).values(
                id=identifier,
                source="store",
                kind=kind,
                dedupe_key=str(identifier),
                body=body,
                customer_ref=customer,
                received_at=datetime.now(UTC),
            )
        )
    return identifier


async def store_negative_answers(engine: AsyncEngine, job_id: UUID, seconds: float, count: int = 3) -> None:
    """Attempts of a job to which the Platform did not confirm the redemption, the first of them `seconds` ago."""
    first = datetime.now(UTC) - timedelta(seconds=seconds)
    codes = (ReasonCode.CONFIRMATION_PENDING, ReasonCode.REWARD_LIST_INCOMPLETE)
    attempts = [
        {
            "job_id": job_id,
            "fencing_token": number,
            "number": 1,
            "started_at": first,
            "outcome": "wait",
            "reason_code": code,
        }
        for number, code in enumerate(code for code in codes for _ in range(count))
    ]
    async with engine.begin() as connection:
        await connection.execute(insert(Attempt).on_conflict_do_nothing(), attempts)


async def store_job(
    engine: AsyncEngine,
    message_id: UUID,
    kind: str,
    state: str,
    *,
    seq: int = 1,
    reason: Reason | None = None,
    version: datetime | None = None,
) -> None:
    """A job as the engine would have left it."""
    async with engine.begin() as connection:
        await connection.execute(
            insert(JobRow).values(
                id=uuid7(),
                message_id=message_id,
                kind=kind,
                destination="platform",
                lane="customer:42",
                seq=seq,
                state=state,
                reason_code=reason and reason.code.value,
                facts=reason and dict(reason.facts),
                version=version,
                collapse=True,
                attempts=1,
                uncertain=False,
                created_at=datetime.now(UTC),
            )
        )
