"""The text of each reason code: what happened and why, and the next step.

    calls.py      calls to a destination
    relay.py      the relay itself: configuration, database, queue
    events.py     customers, orders and products
    coupons.py    redemptions, and coupons in the store
    alerts.py     other alerts
    text.py       what a text consists of, and sentences that many texts share
    rendering.py  makes the sentences from a reason and its facts

A template names facts as `{fact}`. A part in square brackets is left out when one of its facts is missing. Outside of
brackets a missing fact is shown by its default (`rendering.DEFAULTS`), or left empty.
"""
