"""How fast the relay is, beside what it could be and beside its peers: `python -m benchmarks` (docs/performance.md).

    __main__.py   what to run, and in which order
    scale.py      how much of everything: a normal run, or a tiny one that only shows that each row works
    stage.py      Postgres, the simulators, Redis and every other process, each started here and ended here
    load.py       the HTTP load generator, a process of its own
    drain.py      how fast a contender works a backlog off, judged from the wire
    figures.py    rounds, medians, ratios (pure)
    results.py    what a row gives, and what it was to reach (pure)
    report.py     the table, the JSON line
    record.py     the figures that are kept: docs/performance.json, and the table in docs/performance.md
    rows/         one file per question
    servers/      web processes to compare with
    contenders/   workers to compare with: `python -m benchmarks.contenders.NAME prepare | work`

Everything but the parent runs in processes of its own, so that no contender pays for another's threads or memory.
"""
