"""Who did what, and whether the record of it is still what was written."""
