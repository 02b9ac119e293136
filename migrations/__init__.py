"""The migrations. A release first adds to the tables, and removes one release later, so that the previous release works
with the new tables during a rolling upgrade."""

OLDEST = "0001"
"""The revision of the oldest release that works with the tables of this release. A migration that removes or renames what
a release uses, or requires a column that it does not write, raises it to the first revision that no longer needs that."""
