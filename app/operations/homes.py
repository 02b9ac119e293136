"""What cells have to know of each other: which one a schema is, where lanes are at home, and copies of what they share."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.cells import HASHED, place
from app.database import keys_of, single_statement
from app.engine.jobs import Job
from app.messages import Incoming
from app.operations.books import when_away
from app.operations.coupons.transitions import CouponRecord, Coupons
from app.outcomes import Owed

SHARED: Final = ("api_key", "reward_rule")
"""Kept in the first cell; the others read a copy while that one is away."""

_CELL: Final = text("SELECT number, cells FROM cell")
_USED: Final = text("SELECT EXISTS (SELECT FROM message)")
_ENROL: Final = text("INSERT INTO cell (number, cells) VALUES (:number, :cells)")
_BIND: Final = text("INSERT INTO home (lane, cell) VALUES (:lane, :cell) ON CONFLICT (lane) DO NOTHING")
_HOME: Final = text("SELECT cell FROM home WHERE lane = :lane")
_OWES_FIRST: Final = text("""
SELECT EXISTS (SELECT FROM lane WHERE channel = 'platform' AND key = :lane AND waiting > 0)
   AND NOT EXISTS (SELECT FROM entity WHERE channel = 'platform' AND key = :lane AND known)
""")
_MESSAGE: Final = text("""
SELECT source, kind, body, event, sealed_by, customer_ref, order_ref, product_ref, coupon_ref FROM message WHERE id = :id
""")


class WrongCellError(ValueError):
    """CELLS does not fit what the schema was made as; going on would look for entities where they are not."""


async def enrol(engine: AsyncEngine, number: int, cells: int) -> None:
    """Note that the engine's schema is cell `number` of `cells`, or see that it is. Raises WrongCellError."""
    async with engine.begin() as connection:
        row = (await connection.execute(_CELL)).one_or_none()
        if row is None and cells > 1:
            if (await connection.execute(_USED)).scalar():
                raise WrongCellError(
                    f"what CELLS names as cell {number} of {cells} holds messages and was not made as a cell: entities"
                    " would be looked for elsewhere. Begin with empty databases (docs/scaling.md)"
                )
            await connection.execute(_ENROL, {"number": number, "cells": cells})
        elif row is not None and (row.number, row.cells) != (number, cells):
            raise WrongCellError(
                f"this is cell {row.number} of {row.cells}, and the settings make it {number} of {cells}: put CELLS back"
                " as it was; cells are never reordered, added or removed (docs/scaling.md)"
            )


class Homes:
    """Where lanes are at home, as cell number `here` sees it."""

    def __init__(self, engines: Sequence[AsyncEngine], here: int) -> None:
        self._engines = engines
        self._here = here

    async def of(self, lane: str) -> int:
        """The number of the lane's cell; a lane that has none yet is at home here from now on, a coupon's in any spelling
        of its code. Raises the database's errors."""
        if lane.startswith(HASHED):
            return place(lane, len(self._engines)) + 1
        lane = lane.lower()
        where = place(lane, len(self._engines))
        async with single_statement(self._engines[where]) as connection:
            await connection.execute(_BIND, {"lane": lane, "cell": self._here})
            return int((await connection.execute(_HOME, {"lane": lane})).scalar_one())

    async def owes_first(self, lane: str) -> bool:
        """Whether another cell owes the far side the first delivery of `lane`, whose key tells its cell. Raises the
        database's errors."""
        where = place(lane, len(self._engines))
        if where + 1 == self._here:
            return False  # the claim has looked
        async with self._engines[where].connect() as connection:
            return bool((await connection.execute(_OWES_FIRST, {"lane": lane})).scalar())

    async def parcel(self, job: Job, lane: str) -> Incoming:
        """The message that makes another cell owe in `lane` what `job` owes here, once, however often it is sent."""
        async with self._engines[self._here - 1].connect() as connection:
            row = (await connection.execute(_MESSAGE, {"id": job.message_id})).mappings().one()
            ring = keys_of(connection)
        body, event = (ring.open(job.message_id, row["sealed_by"], row[name]) for name in ("body", "event"))
        return _parcel(job, lane, row, body or b"", event)


def _parcel(job: Job, lane: str, row: RowMapping, body: bytes, event: bytes | None) -> Incoming:
    owed = Owed(job.kind, job.channel, lane, job.params, job.after, job.collapse)
    refs = {name: row[name] for name in ("customer_ref", "order_ref", "product_ref", "coupon_ref")}
    return Incoming(
        row["source"],
        row["kind"],
        f"job:{job.id}",
        body,
        (owed,),
        job.version,
        **refs,
        strict=False,
        event=event,
    )


class AllCoupons:
    """The coupons of all cells, for an order: its shopper may use one that is at home elsewhere. Raises DatabaseAway."""

    def __init__(self, engines: Sequence[AsyncEngine]) -> None:
        self._engines = engines

    async def find_all(self, codes: Sequence[str]) -> tuple[CouponRecord, ...]:
        found: tuple[CouponRecord, ...] = ()
        for engine in self._engines:
            async with when_away():
                found += await Coupons(engine).find_all(codes)
        return found

    async def seen_in_order(self, code: str, order_id: str, status: str) -> CouponRecord | None:
        for engine in self._engines:
            async with when_away():
                seen = await Coupons(engine).seen_in_order(code, order_id, status)
            if seen is not None:
                return seen
        return None


async def copy_shared(home: AsyncEngine, cell: AsyncEngine) -> None:
    """Make the tables of SHARED in `cell` what they are in `home`."""
    for table in SHARED:
        async with home.connect() as connection:
            read = text(f"SELECT coalesce(jsonb_agg(to_jsonb({table})), '[]')::text FROM {table}")  # noqa: S608  # constants only
            rows = (await connection.execute(read)).scalar_one()
        async with cell.begin() as connection:
            held = (await connection.execute(read)).scalar_one()
            if held == rows:
                continue
            await connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608  # constants only
            fill = f"INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, CAST(:rows AS jsonb))"  # noqa: S608
            await connection.execute(text(fill), {"rows": rows})
