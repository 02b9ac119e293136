"""The migrations: first expand, and contract one release later, so that the release before goes on with the new tables."""

OLDEST = "0001"
"""The head of the oldest release whose code works on the tables of this one. A migration that contracts (drops or renames
what a release used, or makes a column required that it does not write) raises it to the first head that no longer needs it."""
