"""What is often written instead of a queue: 64 loops, each with one SQLAlchemy transaction around one call."""

import asyncio
import logging
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import LargeBinary, Text, select
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from uuid_utils.compat import uuid7

from benchmarks.contenders.task import PlatformCalls, Task, main
from benchmarks.scale import CONCURRENCY


class Base(DeclarativeBase):
    type_annotation_map = {str: Text(), bytes: LargeBinary()}  # noqa: RUF012  # as SQLAlchemy's manual writes it


class Job(Base):
    __tablename__ = "naive_job"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    entity: Mapped[str]
    body: Mapped[bytes]
    state: Mapped[str] = mapped_column(index=True)


class Attempt(Base):
    __tablename__ = "naive_attempt"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(index=True)
    at: Mapped[datetime]
    status: Mapped[int]


def _engine(task: Task) -> AsyncEngine:
    return create_async_engine(task.database_url, pool_size=CONCURRENCY, max_overflow=0)


async def prepare(task: Task) -> None:
    engine = _engine(task)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with async_sessionmaker(engine).begin() as session:
        session.add_all(
            Job(id=uuid7(), entity=identifier, body=body, state="waiting") for identifier, body in task.events()
        )
    await engine.dispose()


async def work(task: Task) -> None:
    logging.disable(logging.INFO)
    engine, platform = _engine(task), PlatformCalls(task)
    sessions = async_sessionmaker(engine)
    due = select(Job).where(Job.state == "waiting").order_by(Job.id).limit(1).with_for_update(skip_locked=True)

    async def one() -> bool:
        async with sessions.begin() as session:
            job = (await session.scalars(due)).first()
            if job is None:
                return False
            status = await platform.put(job.entity, job.body)
            session.add(Attempt(id=uuid7(), job_id=job.id, at=datetime.now(UTC).replace(tzinfo=None), status=status))
            job.state = "done"
        return True

    async def run() -> None:
        while await one():
            pass

    await asyncio.gather(*(run() for _ in range(CONCURRENCY)))
    await platform.aclose()
    await engine.dispose()


if __name__ == "__main__":
    main(prepare=prepare, work=work)
