"""The end of the history: old rows leave, after an export if it is configured; duplicates are recognised for longer.

leave.py      messages with their jobs and attempts leave after HISTORY (periodic task)
forget.py     the digests that recognise duplicates leave after DEDUPE (periodic task)
export.py     writes the rows that leave into files, if HISTORY_EXPORT is set
customers.py  which of these files may hold a customer's rows
limits.py     whether an id is older than the history (pure)
"""
