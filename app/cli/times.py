"""Times that are options of commands."""

from datetime import UTC, datetime

import typer

from platform_relay.inbox.events import instant


def in_utc(moment: datetime | None) -> datetime | None:
    """The time in UTC, within the limits of `instant`; a time without a zone is taken as UTC. Raises typer.BadParameter."""
    if moment is None:
        return None
    try:
        return instant(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment)
    except ValueError as error:
        raise typer.BadParameter(f"{moment} {error}") from None
