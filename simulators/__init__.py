"""Stand-ins for the two destinations, as separate programs: `platform` (the loyalty Platform) and `shop` (a store).

They are reached only over HTTP, import nothing of `app/`, and nothing of `app/` imports them. Both are steered and
inspected through their own control routes under `/_sim/` (see README.md), which no scripted fault ever touches.

    call.py        one received call and the answer to it
    ledger.py      what was received and what took effect, in order
    script.py      which call is to go wrong, and how (pure)
    wire.py        how an answer, or the lack of one, leaves on the socket
    program.py     the ASGI program around a service: control routes, ledger, faults
    deliveries.py  webhooks going out, sent again until a 2xx or the bound
    platform.py    the Platform's REST API · loyalty.py: rewards, rules, Launcher, webhooks
    shop.py        a WooCommerce-like shop · shop_auth.py, shop_coupons.py, shop_webhooks.py, shop_relay.py: its parts
    corner.py      a made-up store, for the sample adapter of the conformance kit
    process.py     start one as a real process from a test or a benchmark
"""
