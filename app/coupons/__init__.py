"""Coupons: from a redemption at the Platform to a coupon in the store, and everything after that.

records.py             a row of the coupon table, an operator's decision, a redemption claim
transitions.py         the states of a coupon and the transitions between them
codes.py               codes that differ only in upper and lower case
issue.py               the job that issues a coupon; retire.py, return_points.py, use_reward.py: the other jobs
valuation.py           what a redemption is worth (valuation_rules.py: the pure rules; reward_rules.py: the operator's rules)
verification.py        whether a redemption is genuine (verification_rules.py: the pure rules)
unlisted.py            redemptions that the Platform does not list, and the later checks of refused ones
spec.py                what the store is asked to create
issuance_limits.py     limits per customer, hour and day
overdue.py             alerts for redemptions that miss the deadline
drift_check.py         compares issued coupons with the store
actions.py             what an operator can do
ledger.py              the sums of all coupons, by currency and state
"""
