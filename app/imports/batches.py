"""The rows of a file in batches, read in this process or by a process of its own."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import IO

from platform_relay.core.compute import ComputeProcess, pausing
from platform_relay.imports.rows import Batch, ImportPlan, MappedRow, NotTheFormat, limited, next_batch, read_messages
from platform_relay.imports.summary import Tally


async def batches(
    plan: ImportPlan, file: IO[bytes], compute: ComputeProcess | None, position: int = 0, number: int = 0
) -> AsyncIterator[Batch]:
    """The rows after row `number`, which ends at `position`, in batches. With `compute`, that process reads the file, which must
    have a name. Raises ValueError if the file does not have its format, and ComputeError."""
    tally = Tally()
    rows = read_messages(plan, file, after=position, number=number, tally=tally)
    while True:
        if compute is None:
            read: Sequence[MappedRow] = [row async for row in pausing(limited(rows))]
            batch: Batch | NotTheFormat = Batch(read, tally.take())
        else:
            batch = await compute.run(partial(next_batch, plan, file.name, position, number))
        if isinstance(batch, NotTheFormat):
            raise ValueError(batch.problem)  # noqa: TRY004  # a result, not a wrong argument
        if not batch.rows:
            return
        yield batch
        position, number = batch.rows[-1][0].end, batch.rows[-1][0].number
