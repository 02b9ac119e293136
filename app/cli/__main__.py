"""`python -m platform_relay.cli` is `relay`."""

from platform_relay.cli.program import main

main()
