"""The web program, as the tests of its API have it."""

from tests.api.conftest import calling, nobody, operator, parts, settings, store, stored, web

__all__ = ["calling", "nobody", "operator", "parts", "settings", "store", "stored", "web"]
