"""The meaning: one file per kind of job = pure translation + one call (two where the contract needs a probe).

    forward_customer   PUT at the Platform
    forward_product    PUT, then its variants
    forward_order      POST or PATCH, whichever is right
    use_reward       an order used one of our coupons
    issue_coupon     a redemption becomes a coupon in the store, proven by reading it back

A handler takes what it needs in `__init__` and returns an outcome.
"""
