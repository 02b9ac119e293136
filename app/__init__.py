"""Platform Relay (the map of the package follows)."""
