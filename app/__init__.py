"""Platform Relay: the durable link between an online store and a loyalty platform.

    store event       HTTP → message → job → send the event   → Platform API
    Platform webhook  HTTP → message → job → issue the coupon → store

docs/glossary.md defines the words. An event passes through these packages from top to bottom; imports go the same way:

    main, web_server, serve, worker   the programs; cli/ is `relay`, the command line
    periodic_tasks        work at regular times
    wiring                builds the parts of a process from the settings
    database_setup        the database of a process: URL or embedded server, migration, engine
    console/, api/        the ways in: pages and endpoints for operators and for the store
    services              the parts of a process
    setup/                `relay init`, and the checklist of the page Set-up
    checks/               what `relay check` looks at
    trial/                the trial beside an existing connector: nothing is changed
    explain/, access/     why something is as it is; API keys
    reconcile/, imports/, sync/   compare with the store; files; polling, backfill and the store's webhooks
    privacy/              export and erase the data of one customer
    conformance/          the kit that proves a store adapter
    forwarding/           a store's event to the Platform: customer, order, product
    coupons/              a redemption to a coupon in the store
    jobs/, alerts/        jobs and alerts as operators see and change them
    stores/, platform/    the destinations
    audit/                who did what and when
    history/              the end of the history: old rows leave, duplicates are recognised for longer
    inbox/                accepts messages, in groups, before they are acknowledged
    queue/                lanes: claim, call, settle; retry, circuit breaker, rate limiter. Knows no destination's meaning
    settings, setting_groups      the settings, from the environment
    core/                 infrastructure: database, models, HTTP, egress policy, encryption, outcomes, reasons, logs, metrics

`migrations/` makes the tables of `core.models`. docs/walkthrough.md follows one event and one redemption through the files.
"""
