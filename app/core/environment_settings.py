"""Where settings are read from: environment variables, `.env`, and one file per secret in `/run/secrets`."""

from pathlib import Path
from typing import Final

from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

SECRETS_DIR: Final = Path("/run/secrets")


class EnvironmentSettings(BaseSettings):
    """Defines where settings are read from. The settings class of each store adapter derives from it."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_nested_delimiter="__",
        secrets_dir=SECRETS_DIR if SECRETS_DIR.is_dir() else None,
        secrets_nested_delimiter="__",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # pydantic passes it by name
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, dotenv_settings, NestedSecretsSettingsSource(file_secret_settings)
