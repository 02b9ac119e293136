"""The SQL of the queue. `queue.py` runs it.

    enqueue.py      store jobs, and create or update their lanes
    claim.py        claim lanes, renew their leases, release them
    settle.py       store how attempts ended
    waiting.py      park a lane until another lane or an event wakes it
    expressions.py  expressions that several statements share

Three rules hold in all statements:
- A statement that changes a job holds its lane's row lock first. Lanes are locked in the order (destination, key).
- A lane is released, and its jobs are settled, only by naming the fencing token of the claim.
- All times are the database's. Callers pass delays in seconds.

A data-modifying CTE sees the snapshot of the statement's start. Therefore conditions on a lane that the same statement
locks look at the locked row (`fenced`), never at the table again.
"""
