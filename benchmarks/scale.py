"""How much of everything a run does."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Scale:
    """`rounds`: interleaved repetitions of a comparison. Times in seconds unless named otherwise."""

    rounds: int = 3
    few_rounds: int = 2
    """Where the contenders are slow, or far apart."""
    seconds: float = 2.5
    """One load run, its warm-up (a quarter of it) besides."""
    connections: tuple[int, ...] = (32, 128)
    sizes: tuple[int, ...] = (400, 2000)
    """Bytes of a body."""
    jobs: int = 10_000
    """Of a fast contender's backlog, each for an entity of its own."""
    peer_jobs: int = 2_000
    """Of a slow contender's backlog."""
    delayed_jobs: int = 5_000
    """Of a backlog for a Platform that takes 50 ms."""
    delivered: int = 2_000_000
    blocked: int = 1_000_000
    delays: tuple[float, ...] = (0.0, 0.05)
    """Seconds that the Platform takes."""
    samples: int = 200
    batch_lines: int = 500
    snapshot_minutes: float = 10.0
    rss_minutes: float = 60.0
    load_rate: float = 200.0
    """Events per second of the long rows' steady load."""
    flood_rate: float = 1000.0
    """Refused requests per second of `refused_flood`; about a fifth of what one web process answers."""
    flood_seconds: float = 30.0
    """Of one turn. The three floods at the web process that keeps refused requests have more than 100,000 of them."""


NORMAL: Final = Scale()
TINY: Final = Scale(
    rounds=1,
    few_rounds=1,
    seconds=1.0,
    connections=(4,),
    sizes=(400,),
    jobs=100,
    peer_jobs=20,
    delayed_jobs=100,
    delivered=200,
    blocked=100,
    delays=(0.0,),
    samples=5,
    batch_lines=20,
    snapshot_minutes=0.02,
    rss_minutes=0.05,
    load_rate=50.0,
    flood_rate=100.0,
    flood_seconds=1.0,
)
CONCURRENCY: Final = 64
"""Calls in flight of every contender."""
