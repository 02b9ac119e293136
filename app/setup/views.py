"""The checklist as `GET /v1/setup` and `relay check --json` show it."""

from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from platform_relay.setup.checklist import ChecklistItem, State, is_complete


class ChecklistItemView(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: str = Field(description="Stable, such as `platform_key` or `topic_points/redeemed`.")
    title: str
    state: State = Field(
        description="`ok`; `missing`: the relay does not work without it; `attention`: something should be done;"
        " `unknown`: it cannot be known now, or only some stores need it."
    )
    text: str = Field(description="What was found.")
    next_step: str = Field(description="What to do; empty if there is nothing to do.")
    last_seen: datetime | None = Field(None, description="When this last happened.")


class SetupView(BaseModel):
    """The checklist of the set-up."""

    complete: bool = Field(description="Nothing is left to do.")
    checks: list[ChecklistItemView]


def setup_view(items: Iterable[ChecklistItem]) -> SetupView:
    listed = tuple(items)
    return SetupView(complete=is_complete(listed), checks=[ChecklistItemView.model_validate(item) for item in listed])
