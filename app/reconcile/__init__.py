"""Reconciliation: compares the store with what the relay received and what the Platform has, and repairs differences."""
