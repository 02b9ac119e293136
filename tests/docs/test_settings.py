"""docs/settings.md and .env.example name every environment variable, with its default and meaning as in the code."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from platform_relay.settings import Settings
from platform_relay.stores import ADAPTERS, adapter_class, variables

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "settings.md").read_text("utf-8")
EXAMPLE = (ROOT / ".env.example").read_text("utf-8")
ROW = re.compile(r"^\| `([A-Z][A-Z0-9_]+)` \| (.+?) \| (.+) \|$", re.MULTILINE)


class Variable(NamedTuple):
    name: str
    default: str
    means: str


def of_settings(model: type[BaseModel], prefix: str = "") -> Iterator[Variable]:
    for name, field in model.model_fields.items():
        group = type(field.default)
        if isinstance(field.default, BaseModel):
            yield from of_settings(group, f"{prefix}{name}__".upper())
        else:
            yield Variable(f"{prefix}{name}".upper(), default_of(field), str(field.description))


def of_adapters() -> Iterator[Variable]:
    for adapter in ADAPTERS:
        for name, field in variables(adapter_class(adapter).Settings).items():
            yield Variable(name, default_of(field), str(field.description))


def default_of(field: FieldInfo) -> str:
    """As it would be written into the environment."""
    if field.is_required():
        return "required"
    value: object = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if isinstance(value, timedelta):
        if value.days >= 365:  # in years and days, it is hard to read
            return f"`P{value.days}D`"
        return f"`{TypeAdapter(timedelta).dump_python(value, mode='json')}`"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    return f"`{value}`".lower() if isinstance(value, bool) else f"`{value}`"


ALL = [*of_settings(Settings), *of_adapters()]


def test_the_page_tells_every_variable_its_default_and_its_meaning() -> None:
    assert [Variable(*row) for row in ROW.findall(PAGE)] == ALL


def test_every_variable_is_described() -> None:
    assert [variable.name for variable in ALL if len(variable.means) < 15] == []


def test_the_example_names_every_variable_and_no_other() -> None:
    named = re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", EXAMPLE, re.MULTILINE)
    assert sorted(named) == sorted(variable.name for variable in ALL)


def test_the_example_can_be_used_as_it_is(tmp_path: Path) -> None:
    """Whoever copies it and fills in nothing gets the defaults, and no secret that everybody knows."""
    copied = tmp_path / "copied.env"
    copied.write_text(EXAMPLE)
    assert Settings(_env_file=copied) == Settings(_env_file=None)
