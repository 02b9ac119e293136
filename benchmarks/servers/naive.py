"""The same route as most would write it: one SQLAlchemy session and one transaction per request."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI
from sqlalchemy import Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.requests import Request
from uuid_utils.compat import uuid7

from benchmarks.servers.null import KeyServices, Receipt
from benchmarks.servers.serving import serve
from platform_relay.api.authentication import Authenticator, Caller
from platform_relay.inbox.events import CustomerEvent


class Base(DeclarativeBase):
    type_annotation_map = {str: Text(), dict: JSONB}  # noqa: RUF012  # as SQLAlchemy's manual writes it


class Event(Base):
    __tablename__ = "event"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    dedupe_key: Mapped[str] = mapped_column(unique=True)
    body: Mapped[dict]  # type: ignore[type-arg]  # JSON
    received_at: Mapped[datetime]


class Job(Base):
    __tablename__ = "event_job"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    event_id: Mapped[UUID] = mapped_column(index=True)
    entity: Mapped[str]
    state: Mapped[str] = mapped_column(index=True)
    created_at: Mapped[datetime]


def create_app() -> FastAPI:
    keys = Authenticator(KeyServices())  # type: ignore[arg-type]  # it reads these two members only
    engine = create_async_engine(os.environ["DATABASE_URL"], pool_size=20, max_overflow=0)
    sessions = async_sessionmaker(engine, expire_on_commit=False)

    @asynccontextmanager
    async def tables(_: FastAPI) -> AsyncIterator[None]:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        yield
        await engine.dispose()

    app = FastAPI(lifespan=tables)

    async def session() -> AsyncIterator[AsyncSession]:
        async with sessions() as opened:
            yield opened

    async def caller(request: Request) -> Caller:
        return await keys.require(request, "events")

    @app.post("/v1/events/customers", status_code=202)
    async def customers(
        event: CustomerEvent,
        caller: Annotated[Caller, Depends(caller)],  # noqa: ARG001  # checked, not used
        session: Annotated[AsyncSession, Depends(session)],
    ) -> Receipt:
        identifier, now = uuid7(), datetime.now(UTC).replace(tzinfo=None)
        key = f"customers:{event.id}:{event.updatedAt}"
        session.add(Event(id=identifier, dedupe_key=key, body=event.model_dump(mode="json"), received_at=now))
        session.add(Job(id=uuid7(), event_id=identifier, entity=event.id, state="waiting", created_at=now))
        await session.commit()
        return Receipt(id=str(identifier), status="accepted", links={"self": f"/v1/events/{identifier}"})

    return app


if __name__ == "__main__":
    serve(create_app())
