"""SQL expressions that several statements share."""

from typing import Final

FIRST_SEQ: Final = "CAST(extract(epoch FROM now()) * 1000000 AS bigint)"
"""The numbers of a new lane's jobs begin here, in microseconds: behind those of an earlier lane of the same entity."""

CLOCK_TOLERANCE: Final = "interval '5 minutes'"
"""A version that is further ahead of the database's clock than this comes from a wrong clock."""

FREE: Final = "(NOT lane.leased OR lane.lease_until <= now())"
"""A lane without a holder: it was released, or its lease has ended."""
