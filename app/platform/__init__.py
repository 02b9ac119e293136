"""The Platform: its API, its responses, its webhooks and its redeem rules.

client.py        one method per endpoint
responses.py     a response of the Platform -> what it means (pure)
outcomes.py      a response of the Platform -> the outcome of a job
fields.py        the table of names, texts and statuses that no public page states
translation.py   a store's event -> a request body for the Platform (pure)
webhooks.py      a webhook -> typed values, and the message with its jobs (pure)
redemptions.py   a redemption, as a webhook reports it
rules.py         a redeem rule, as the Platform gives it
launcher.py      the Launcher's rules and currency, cached for a minute
"""
