"""The HTTP API. One module per subject; `platform_relay.main` puts the routers together."""
