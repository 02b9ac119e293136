"""`python -m app.cli` is `relay`."""

from app.cli.program import main

main()
