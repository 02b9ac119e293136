"""Platform Relay: one durable engine, two journeys.

    store event        HTTP → message → job → relay the event   → Platform API
    platform webhook   HTTP → message → job → issue the coupon  → store

Words: a *message* is what arrived, byte for byte. A *job* is what we owe because of it: one effect at one far side.
An *attempt* is one try of a job. A *channel* is a far side: `platform` or `store`. A *lane* is the ordered queue of one
entity in one channel (`customer:42`, `order:1001`, `coupon:ab12`): its jobs run one after another, lanes side by side.
An *outcome* is what the far side's answer means; its *reason* is a stable code and facts.

An event goes down this list; only the verdict comes back:

    main, worker, serve, cli/  the programs
    wiring                     the composition root: the only place that knows everything; ticks, what is done now and then
    api/                       1 the doors: authenticate, parse, hand to the inbox, answer after the commit
    inbox                        accept(): message + job + lane in one commit
    engine/                    2 the promise: claim, call, settle. Knows no Platform, no shop, no HTTP, no payload
    console/                     the operators' pages, a door like api
    handlers/                  3 the meaning: one file per kind of job
    platform/, stores/         4 the far sides
    http, transport, reach       one outbound call -> an answer or an outcome; over aiohttp; whom we may call
    operations/                5 the people: what operators and handlers read and change beside the queue, a folder a subject:
                                 coupons, explain, reconcile, people, imports, alerts, audit; beside them books and views

    messages    what may arrive, and which job it owes (pure)
    outcomes    Done | Skip | Retry | Unknown | Reject | Blocked | Wait; imports only reasons
    reasons     reason codes and facts, with every state but success; `reason_texts` makes the texts for people from them
    models      the tables; `migrate` brings a database to them
    database    the engine with its time limits; `embedded` is a Postgres without an installation
    sealing     bodies at rest, sealed and opened under a ring of keys (pure)
    ids         version 7 UUIDs, in the order of time (pure)
    currencies  decimal places of currencies (pure)
    errors      what callers are told (problem+json);  settings, telemetry, tracing (by opentelemetry, where that is installed)

Who may import whom (pyproject.toml has the contracts, tested by import-linter): upwards nobody. Only the programs know
`wiring`. api → inbox → engine → models, outcomes. handlers → platform, stores → http → outcomes → reasons. The engine knows
none of api, handlers, platform, stores, http, messages. SQL stands in inbox, engine, operations, models, migrate.
The simulators import nothing of this package, nor it of them.

docs/walkthrough.md follows one event through these files.
"""
