"""The durable queue: an accepted job is delivered, or ends in a visible state with a reason.

    jobs.py               a claimed job; the type of its handlers
    states.py             transitions as values
    retry.py              the retry policy (pure)
    decide.py             outcome -> transition (pure, exhaustive)
    statements/           the SQL over lanes, jobs, attempts and entities
    queue.py              runs it: enqueue, claim, renew, settle, park, wake
    watermark.py          the due time from which a claim reads (pure)
    runner.py             one job: check, call the handler, decide
    loop.py               one loop per destination: claim, run concurrently, settle in batches
    destinations.py       the destinations' rows
    circuit_breaker.py    stops the calls to a failing destination
    rate_limiter.py       limits the calls per second
    destination_guard.py  keeps both up to date for one worker
    notifications.py      NOTIFY as a hint between processes
    oldest_waiting.py     the age of the oldest waiting job
    maintenance.py        deletes idle lanes
    attempts.py           where attempts are read from

Knows no Platform, no store, no HTTP and no payload.
"""
