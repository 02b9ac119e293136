"""The accounting identity and the fence, looked at all the time, in the tables and through the API.

This does not judge delivery (`oracle.py` does, from the wire); it watches what only the tables can show.
"""

import asyncio
from contextlib import suppress
from typing import Final

import httpx

from platform_relay.queue.attempts import ATTEMPTS
from tests.faults.rig import OPERATOR_KEY, Rig
from tests.faults.server import GONE

PAUSE: Final = 0.3

_LANES: Final = """
WITH pending AS (SELECT destination, lane, count(*) AS jobs FROM job WHERE open GROUP BY destination, lane)
SELECT coalesce(lane.destination, pending.destination) || ' ' || coalesce(lane.key, pending.lane) || ': the lane says '
       || coalesce(lane.open_jobs, 0) || ', open jobs are ' || coalesce(pending.jobs, 0)
FROM lane FULL JOIN pending ON pending.destination = lane.destination AND pending.lane = lane.key
WHERE coalesce(lane.open_jobs, 0) <> coalesce(pending.jobs, 0)
"""

_STALE: Final = f"""
WITH every AS (SELECT * FROM {ATTEMPTS} AS attempt)
SELECT count(*) FROM every AS old JOIN every AS new ON new.job_id = old.job_id AND new.fencing_token > old.fencing_token
WHERE old.outcome <> 'lost' AND new.outcome <> 'lost'
  AND old.started_at + make_interval(secs => old.duration_ms / 1000.0) > new.started_at + interval '10 ms'
"""  # noqa: S608  # constants only
"""An attempt's end is the moment of its settlement. One that lies behind the start of a later claim's attempt was
written although the lease was lost."""

_MESSAGES: Final = "SELECT count(*) FROM message WHERE NOT EXISTS (SELECT FROM job WHERE job.message_id = message.id)"

LONGEST_LOOK: Final = 5.0  # seconds


class JobCounts:
    """Samples while `watch` runs; a database or a web process that is away gives no sample, which is no violation."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.samples = 0
        self.violations: list[str] = []

    async def watch(self) -> None:
        """Until it is cancelled. What ends it otherwise is a violation: nobody looks any more."""
        try:
            await self._sample()
        except Exception as error:
            self.violations.append(f"the watch of the books ended: {error!r}")
            raise

    async def _sample(self) -> None:
        async with httpx.AsyncClient(
            trust_env=False, timeout=5, headers={"authorization": f"Bearer {OPERATOR_KEY}"}
        ) as client:
            while True:
                await self._look_at_tables()
                with suppress(httpx.HTTPError):
                    answer = await client.get(f"{self._rig.url}/v1/jobs/counts")
                    if answer.status_code == 200:
                        self._judge(answer.json())
                await asyncio.sleep(PAUSE)  # time: between two samples

    async def counts(self) -> dict[str, int]:
        """Jobs by state, as the API tells them. Raises AssertionError while it does not answer."""
        async with httpx.AsyncClient(trust_env=False, headers={"authorization": f"Bearer {OPERATOR_KEY}"}) as client:
            try:
                answer = await client.get(f"{self._rig.url}/v1/jobs/counts", timeout=5)
            except httpx.HTTPError as error:
                raise AssertionError(f"no answer: {error!r}") from error
            assert answer.status_code == 200, answer.text
            total: dict[str, int] = answer.json()["total"]
            return total

    async def idle(self) -> bool:
        """True when no job is open. Raises AssertionError, telling what is."""
        total = await self.counts()
        pending = {state: total[state] for state in ("waiting", "running", "unknown") if total[state]}
        assert not pending, f"still open: {pending}"
        return True

    async def stale_settles(self) -> int:
        connection = await self._rig.server.connect()
        try:
            return int(await connection.fetchval(_STALE))
        finally:
            await connection.close()

    async def _look_at_tables(self) -> None:
        with suppress(*GONE):
            async with asyncio.timeout(LONGEST_LOOK):
                connection = await self._rig.server.connect()
                try:
                    self.violations += [str(row[0]) for row in await connection.fetch(_LANES)]
                    if ownerless := await connection.fetchval(_MESSAGES):
                        self.violations.append(f"{ownerless} messages owe nothing")
                    self.samples += 1
                finally:
                    connection.terminate()

    def _judge(self, books: dict[str, object]) -> None:
        self.samples += 1
        if books["balanced"] is not True:
            self.violations.append(f"/v1/jobs/counts is not balanced: {books}")
        total = books["total"]
        assert isinstance(total, dict)
        if total["received"] != sum(number for state, number in total.items() if state != "received"):
            self.violations.append(f"/v1/jobs/counts does not add up: {total}")
