"""The promise: what was accepted is delivered, or somebody can see why not.

    jobs.py      Job: what a handler is given; Handler: what it is
    states.py    transitions as values; an illegal one cannot be written
    retry.py     when to try again (pure)
    decide.py    outcome -> transition (pure, exhaustive)
    queue.py     all SQL over lanes, jobs, attempts, entities and destinations
    watermark.py where a claim begins to look (pure)
    runner.py    one job: check, call the handler, decide
    loop.py      one loop per destination: claim, run side by side, settle in batches

Knows no Platform, no store, no HTTP and no payload.
"""
