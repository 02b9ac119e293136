"""The operator's rules: what a redeemed reward is worth. Every change is a version and a line of the audit."""

from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.api.authentication import Keys
from platform_relay.api.dependencies import Services
from platform_relay.api.documentation import answer, body_of, needs_key, refusals
from platform_relay.api.events import KEY_REFUSALS
from platform_relay.api.operator import BODY_REFUSALS
from platform_relay.api.request_body import read_model
from platform_relay.core.errors import NotFound, QueryInvalid
from platform_relay.coupons import reward_rules
from platform_relay.coupons.reward_rules import RuleVersion
from platform_relay.jobs.actions import audit
from platform_relay.jobs.queries import reading, when_away
from platform_relay.platform.rewards import rule_key
from platform_relay.platform.rules import RewardRuleDefinition

RuleId = Annotated[
    str, Path(min_length=1, max_length=255, description="The rule's id at the Platform, as redemptions name it.")
]
DEFINITION: Final = {"kind": "fixed_amount", "value": "5.00", "currency": "EUR", "variant_ids": ["7-blue"]}
RULE: Final = {
    "id": "rule-7",
    "version": 2,
    "definition": DEFINITION,
    "created_at": "2026-05-11T16:25:01Z",
    "created_by": "operator",
}
BODIES: Final = (RewardRuleDefinition,)


class RuleView(BaseModel):
    """A rule in force: its newest version."""

    id: str
    version: int
    definition: RewardRuleDefinition
    created_at: datetime
    created_by: str


class StoredRule(RuleView):
    woken: int = Field(description="Redemptions that waited for the rule and go on now.")


def routes(services: Services, keys: Keys) -> APIRouter:
    router = APIRouter(prefix="/v1/reward-rules", tags=["Reward rules"])
    limit = services.settings.body_limit

    @router.get(
        "",
        operation_id="list_reward_rules",
        summary="List the rules in force",
        responses={200: answer("All rules.", [RULE]), **refusals(*KEY_REFUSALS)},
        openapi_extra=needs_key("read"),
        response_model_exclude_none=True,
    )
    async def list_rules(request: Request) -> list[RuleView]:
        """The newest version of every rule that was not deleted."""
        await keys.require(request, "read")
        async with reading(services.engine) as connection:
            return [_view(rule) for rule in await reward_rules.listing(connection)]

    @router.get(
        "/{rule_id}",
        operation_id="read_reward_rule",
        summary="Read one rule",
        responses={200: answer("The rule.", RULE), **refusals(*KEY_REFUSALS, NotFound, QueryInvalid)},
        openapi_extra=needs_key("read"),
        response_model_exclude_none=True,
    )
    async def read_rule(request: Request, rule_id: RuleId) -> RuleView:
        """The newest version of the rule, unless it was deleted."""
        await keys.require(request, "read")
        async with reading(services.engine) as connection:
            rule = await reward_rules.get(connection, rule_id)
        if rule is None:
            raise _unknown(rule_id)
        return _view(rule)

    @router.put(
        "/{rule_id}",
        operation_id="put_reward_rule",
        summary="Say what a rule is worth",
        responses={200: answer("Stored.", {**RULE, "woken": 3}), **refusals(*BODY_REFUSALS, QueryInvalid)},
        openapi_extra=needs_key("operate") | body_of(RewardRuleDefinition, DEFINITION),
        response_model_exclude_none=True,
    )
    async def put_rule(request: Request, rule_id: RuleId) -> StoredRule:
        """Makes a new version, which counts from now on. Redemptions that wait for the rule go on at once; coupons
        that exist keep their value."""
        caller = await keys.require(request, "operate")
        definition = await read_model(request, RewardRuleDefinition, limit)
        async with when_away():
            async with services.engine.begin() as connection:
                version = await reward_rules.put(connection, rule_id, definition, caller.name)
                await audit(connection, caller.name, "reward_rule.put", rule_id, {"version": version})
                rule = await reward_rules.get(connection, rule_id)
            woken = await services.operator.wake([rule_key(rule_id)])
        if rule is None:
            raise _unknown(rule_id)
        return StoredRule(**dict(_view(rule)), woken=woken)

    @router.delete(
        "/{rule_id}",
        operation_id="delete_reward_rule",
        summary="Delete a rule",
        status_code=204,
        response_class=Response,
        responses={204: {"description": "Deleted."}, **refusals(*KEY_REFUSALS, NotFound, QueryInvalid)},
        openapi_extra=needs_key("operate"),
    )
    async def delete_rule(request: Request, rule_id: RuleId) -> Response:
        """The rule no longer counts; its versions are kept, and coupons that exist keep their value."""
        caller = await keys.require(request, "operate")
        async with when_away(), services.engine.begin() as connection:
            version = await reward_rules.delete(connection, rule_id, caller.name)
            if version is not None:
                await audit(connection, caller.name, "reward_rule.delete", rule_id, {"version": version})
        if version is None:
            raise _unknown(rule_id)
        return Response(status_code=204)

    return router


def _view(rule: RuleVersion) -> RuleView:
    if rule.definition is None:
        raise _unknown(rule.id)
    return RuleView(
        id=rule.id,
        version=rule.version,
        definition=rule.definition,
        created_at=rule.created_at,
        created_by=rule.created_by,
    )


def _unknown(rule_id: str) -> NotFound:
    return NotFound(f"There is no rule {rule_id!r}; the rules in force are listed at /v1/reward-rules.")
