"""Runs the migrations with Alembic, without a configuration file. `platform_relay.core.migrate` decides when."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection


def upgrade(connection: Connection) -> None:
    """Run all pending migrations in the transaction of `connection`."""
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def scripts() -> list[Script]:
    """All migrations of this release, newest first."""
    return list(ScriptDirectory.from_config(configuration()).walk_revisions())


def configuration() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
