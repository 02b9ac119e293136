"""Influence.io's own files of points and tiers.

Columns: http://support.influence.io/en/articles/9184848-point-import and …/9184847-tier-import. They are files for Influence.io
itself, and no customer of a store can be made of them.
"""

from typing import Final

from platform_relay.imports.exports.known import NO_ACCOUNT, POINTS, POINTS_NOTE, Export
from platform_relay.inbox.events import EventKind

POINTS_FILE: Final = Export(
    name="influence-points",
    kind=EventKind.CUSTOMER,
    title="Influence.io, points import",
    source="support.influence.io/en/articles/9184848-point-import",
    signature=frozenset({"Email", "Points", "Action"}),
    fields={"email": ("Email",)},
    notes=(POINTS_NOTE,),
    unused={"Points": POINTS, "Action": POINTS},
    missing={"id": f"{NO_ACCOUNT}. {POINTS_NOTE}".removesuffix(".")},
)

TIERS: Final = Export(
    name="influence-tiers",
    kind=EventKind.CUSTOMER,
    title="Influence.io, tier import",
    source="support.influence.io/en/articles/9184847-tier-import",
    signature=frozenset({"Email", "Tier", "Progression"}),
    fields={"email": ("Email",)},
    notes=(POINTS_NOTE,),
    unused={"Tier": POINTS, "Progression": POINTS},
    missing={"id": f"{NO_ACCOUNT}. {POINTS_NOTE}".removesuffix(".")},
)
