"""Medusa v2, admin API."""
