"""The web program, as the tests of its API have it."""

from tests.api.conftest import anonymous, calling, operator, parts, settings, store, stored, web

__all__ = ["anonymous", "calling", "operator", "parts", "settings", "store", "stored", "web"]
