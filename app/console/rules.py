"""*Reward rules*: what the Platform's redeem rules are worth, by the operator's word."""

from typing import Final

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.console.pages import Form, Pages, Refused, query
from platform_relay.coupons import reward_rules
from platform_relay.jobs.actions import audit
from platform_relay.jobs.queries import reading, when_away
from platform_relay.platform.rewards import rule_key
from platform_relay.platform.rules import RewardKind, RewardRuleDefinition

LONGEST_ID: Final = 255
LISTS: Final = ("product_ids", "variant_ids")
FIELDS: Final = (
    ("value", "Value", "Amount or percentage; empty for free shipping and free products."),
    ("currency", "Currency", "ISO 4217, such as EUR; only a check, a coupon is in the store's currency."),
    ("point_cost", "Points that the value costs", "Only where the value grows with the points."),
    ("min_points", "Fewest points", "Of one redemption; empty: any."),
    ("max_points", "Most points", "Of one redemption; empty: any."),
    ("product_ids", "Products", "The store's ids, separated by commas; empty: all."),
    ("variant_ids", "Variants", "The store's ids, separated by commas, in place of products; empty: all."),
    ("minimum_spend", "Minimum spend", "The order's value from which the coupon counts."),
    ("expires_after", "Valid for", "Such as P90D for 90 days; empty: COUPONS__EXPIRES_AFTER."),
    ("title", "Title", "For people."),
)


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    services = pages.services
    engine = services.engine

    @router.get("/console/rules")
    async def rules(request: Request) -> Response:
        await pages.visitor(request)
        async with reading(engine) as connection:
            return pages.show(request, "rules", rules=await reward_rules.listing(connection))

    @router.get("/console/rule")
    async def rule(request: Request, id: str = "") -> Response:  # noqa: A002  # the word in the address
        await pages.visitor(request)
        async with reading(engine) as connection:
            versions = await reward_rules.history(connection, id.replace("\x00", "")) if id else []
        newest = versions[0] if versions else None
        told = _fields(newest.definition) if newest and newest.definition else Form({"active": "on"})
        return _editor(request, id, told, versions=versions)

    @router.post("/console/rule")
    async def put(request: Request) -> Response:
        visitor, form = await pages.form(request)
        rule_id = form["id"]
        if not 0 < len(rule_id) <= LONGEST_ID:
            return _editor(request, rule_id, form, 422, wrong="Id: name the rule as the Platform's redemptions do.")
        try:
            definition = RewardRuleDefinition.model_validate(_definition(form))
        except ValidationError as error:
            return _editor(request, rule_id, form, 422, wrong=_words(error))
        async with when_away():
            async with engine.begin() as connection:
                version = await reward_rules.put(connection, rule_id, definition, visitor.name)
                await audit(connection, visitor.name, "reward_rule.put", rule_id, {"version": version})
            woken = await services.operator.wake([rule_key(rule_id)])
        said = f"Version {version} of {rule_id} counts from now on; {woken} waiting redemptions go on."
        return pages.back(request, visitor, query("/console/rule", id=rule_id), said)

    @router.post("/console/rule/delete")
    async def delete(request: Request) -> Response:
        visitor, form = await pages.form(request)
        rule_id = form["id"]
        async with when_away(), engine.begin() as connection:
            version = await reward_rules.delete(connection, rule_id, visitor.name)
            if version is not None:
                await audit(connection, visitor.name, "reward_rule.delete", rule_id, {"version": version})
        if version is None:
            raise Refused(404, "There is no such rule", "It may have been deleted already; see the list of rules.")
        return pages.back(request, visitor, "/console/rules", f"{rule_id} is deleted; its versions are kept.")

    def _editor(  # what the page tells
        request: Request,
        rule_id: str,
        told: Form,
        status: int = 200,
        wrong: str | None = None,
        versions: list[reward_rules.RuleVersion] | None = None,
    ) -> Response:
        told.setdefault("kind", RewardKind.FIXED_AMOUNT)
        return pages.show(
            request,
            "rule",
            status,
            id=rule_id,
            told=told,
            wrong=wrong,
            versions=versions or [],
            fields=FIELDS,
            kinds=list(RewardKind),
        )

    return router


def _fields(definition: RewardRuleDefinition) -> Form:
    """The rule as the form shows it."""
    told = definition.model_dump(mode="json", exclude_none=True)
    for name in LISTS:
        told[name] = ", ".join(told[name])
    for name in ("increments", "active"):
        told[name] = "on" if told[name] else ""
    return Form({name: str(value) for name, value in told.items()})


def _definition(form: Form) -> dict[str, object]:
    """What the form says; empty fields are left out."""
    told: dict[str, object] = {name: form[name] for name, _, _ in FIELDS if form[name]}
    lists = {name: [each.strip() for each in form[name].split(",") if each.strip()] for name in LISTS}
    return {
        **told,
        **lists,
        "kind": form["kind"],
        "increments": bool(form["increments"]),
        "active": bool(form["active"]),
    }


def _words(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(step) for step in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"].removeprefix("Value error, ")
