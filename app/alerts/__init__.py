"""Alerts: when they are raised and resolved, and how they are sent to a chat."""
