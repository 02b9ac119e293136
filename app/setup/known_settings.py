"""The settings that the file may contain: names, descriptions and secrecy, from the settings classes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from platform_relay import stores
from platform_relay.settings import Settings
from platform_relay.stores.settings import OWN_SECRET

EXPERT: Final = "__CA_FILE"
"""The end of the names of store variables that few stores need. They are not asked for; `--set` sets them."""


@dataclass(frozen=True, slots=True)
class KnownSetting:
    """A setting. `own_secret`: how to generate it (`hex` or `whsec`); None: the relay does not generate it."""

    name: str
    description: str
    secret: bool
    required: bool
    has_default: bool
    own_secret: str | None = None


def service_settings() -> dict[str, KnownSetting]:
    """The settings of the service, by name."""
    return {setting.name: setting for setting in _flat("", Settings)}


def store_settings(adapter: str) -> dict[str, KnownSetting]:
    """The variables of a store, by name. Raises ValueError for an unknown store."""
    chosen = stores.adapter_class(adapter).Settings
    return {name: _known(name, field) for name, field in stores.variables(chosen).items()}


def asked_for(setting: KnownSetting) -> bool:
    """Whether `relay init` asks for this variable of a store. Those with a default and those that are generated are not."""
    return setting.own_secret is None and not setting.has_default and not setting.name.endswith(EXPERT)


def _flat(prefix: str, model: type[BaseModel]) -> Iterator[KnownSetting]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _flat(f"{prefix}{name}__", field.annotation)
        else:
            yield _known(f"{prefix}{name}".upper(), field)


def _known(name: str, field: FieldInfo) -> KnownSetting:
    extra = field.json_schema_extra
    own = extra.get(OWN_SECRET) if isinstance(extra, dict) else None
    return KnownSetting(
        name,
        field.description or "",
        secret=SecretStr in (field.annotation, *get_args(field.annotation)),
        required=field.is_required(),
        has_default=not field.is_required() and field.default is not None,
        own_secret=own if isinstance(own, str) else None,
    )
