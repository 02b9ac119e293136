"""Reward rules of the operator: the values of redeemed rewards. Every change creates a version and an audit entry."""

from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field, TypeAdapter
from starlette.responses import Response

from platform_relay.api.authentication import READ, OperateAccess
from platform_relay.api.dependencies import ServicesDep
from platform_relay.api.documentation import BODY_PROBLEMS, KEY_PROBLEMS, problem_responses, success
from platform_relay.api.paging import PageDep
from platform_relay.api.request_body import JsonBody
from platform_relay.core.database import map_database_errors, read_connection
from platform_relay.core.errors import NotFound, QueryInvalid
from platform_relay.core.paging import Cursor, KeyText, Page
from platform_relay.coupons import reward_rules
from platform_relay.coupons.reward_rules import RewardRuleActions, RewardRuleDefinition, RuleVersion

RuleId = Annotated[
    str, Path(min_length=1, max_length=255, description="The Platform's id of the rule, as in redemptions.")
]
_DEFINITION: Final = {"kind": "fixed_amount", "value": "5.00", "currency": "EUR", "variant_ids": ["7-blue"]}
_RULE: Final = {
    "id": "rule-7",
    "version": 2,
    "definition": _DEFINITION,
    "created_at": "2026-05-11T16:25:01Z",
    "created_by": "operator",
}


class RuleView(BaseModel):
    """The newest version of a rule."""

    id: str
    version: int
    definition: RewardRuleDefinition
    created_at: datetime
    created_by: str


_CURSOR: Final = Cursor("reward rules", TypeAdapter[str](KeyText))


class StoredRule(RuleView):
    woken: int = Field(description="The number of redemptions that waited for this rule and continue.")


router: Final = APIRouter(prefix="/v1/reward-rules", tags=["Reward rules"])


@router.get(
    "",
    operation_id="list_reward_rules",
    summary="List reward rules",
    responses={
        200: success("One page of rules, by id.", {"items": [_RULE], "next_cursor": None}),
        **problem_responses(*KEY_PROBLEMS, QueryInvalid),
    },
    dependencies=[READ],
)
async def list_reward_rules(services: ServicesDep, page: PageDep) -> Page[RuleView]:
    """The newest version of every rule. Deleted rules are not listed."""
    after = _CURSOR.decode(page.cursor)
    async with read_connection(services.engine) as connection:
        rules = await reward_rules.listing(connection, after=after, limit=page.limit + 1)
    return _CURSOR.page([_view(rule) for rule in rules], page.limit, lambda rule: rule.id)


@router.get(
    "/{rule_id}",
    operation_id="read_reward_rule",
    summary="Read a reward rule",
    responses={200: success("The rule.", _RULE), **problem_responses(*KEY_PROBLEMS, NotFound, QueryInvalid)},
    dependencies=[READ],
)
async def read_reward_rule(services: ServicesDep, rule_id: RuleId) -> RuleView:
    """The newest version of the rule; 404 if it was deleted."""
    async with read_connection(services.engine) as connection:
        rule = await reward_rules.get(connection, rule_id)
    if rule is None:
        raise _not_found(rule_id)
    return _view(rule)


@router.put(
    "/{rule_id}",
    operation_id="put_reward_rule",
    summary="Create or change a reward rule",
    responses={
        200: success("The rule is stored.", {**_RULE, "woken": 3}),
        **problem_responses(*BODY_PROBLEMS, QueryInvalid),
    },
)
async def put_reward_rule(
    caller: OperateAccess,
    body: Annotated[RewardRuleDefinition, Depends(JsonBody(RewardRuleDefinition, _DEFINITION))],
    services: ServicesDep,
    rule_id: RuleId,
) -> StoredRule:
    """Creates a new version, which applies from now on. Redemptions that wait for this rule continue at once. Existing coupons
    keep their value."""
    async with map_database_errors():
        rule, woken = await RewardRuleActions(services.engine, services.actions).put(rule_id, body, caller.name)
    return StoredRule(**dict(_view(rule)), woken=woken)


@router.delete(
    "/{rule_id}",
    operation_id="delete_reward_rule",
    summary="Delete a reward rule",
    status_code=204,
    response_class=Response,
    responses={
        204: {"description": "The rule is deleted."},
        **problem_responses(*KEY_PROBLEMS, NotFound, QueryInvalid),
    },
)
async def delete_reward_rule(caller: OperateAccess, services: ServicesDep, rule_id: RuleId) -> Response:
    """The rule no longer applies. Its versions are kept, and existing coupons keep their value."""
    async with map_database_errors():
        deleted = await RewardRuleActions(services.engine, services.actions).delete(rule_id, caller.name)
    if not deleted:
        raise _not_found(rule_id)
    return Response(status_code=204)


def _view(rule: RuleVersion) -> RuleView:
    if rule.definition is None:
        raise _not_found(rule.id)
    return RuleView(
        id=rule.id,
        version=rule.version,
        definition=rule.definition,
        created_at=rule.created_at,
        created_by=rule.created_by,
    )


def _not_found(rule_id: str) -> NotFound:
    return NotFound(f"There is no reward rule {rule_id!r}. /v1/reward-rules lists the rules.")
