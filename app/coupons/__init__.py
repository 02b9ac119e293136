"""Coupons: their transitions, the fuse, the deadline, the patrol, what a person may do, the ledger."""
