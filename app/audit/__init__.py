"""The audit log: who did what. Its entries form a hash chain, so that a later change can be detected."""
