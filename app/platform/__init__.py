"""The Platform: what it is called by, what it answers, what it tells, and what a reward is worth.

fields.py      the one table of what nobody published: names, texts, statuses
translate.py   a store's event -> the Platform's body (pure)
answers.py     the Platform's answer -> what it means (pure)
client.py      one method per endpoint
launcher.py    the Launcher's rules and currency, remembered for a minute
webhooks.py    the Platform's webhook -> typed values, and the message with the coupons it owes (pure)
rules.py       what a redeem rule says, the Platform's and the operator's
rewards.py     a redemption and the rules -> its value, or why it has none (pure)
exact.py       JSON without floats
"""
