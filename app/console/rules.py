"""*Reward rules*: the values of the Platform's redeem rules, as an operator enters them."""

from typing import Final

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from platform_relay.console.pages import Form, PageError, Pages, build_url
from platform_relay.core.database import map_database_errors, read_connection
from platform_relay.core.field_rules import message_of
from platform_relay.coupons import reward_rules
from platform_relay.coupons.reward_rules import RewardRuleDefinition
from platform_relay.platform.rules import RewardKind

LONGEST_ID: Final = 255
LISTS: Final = ("product_ids", "variant_ids")
FIELDS: Final = (
    ("value", "Value", "Amount or percentage; empty for free shipping and free products."),
    ("currency", "Currency", "ISO 4217, such as EUR. Only checked: a coupon is always in the store's currency."),
    ("point_cost", "Points per value", "Only if the value grows with the points."),
    ("min_points", "Minimum points", "Per redemption; empty: any."),
    ("max_points", "Maximum points", "Per redemption; empty: any."),
    ("product_ids", "Products", "The store's ids, separated by commas; empty: all."),
    ("variant_ids", "Variants", "The store's ids, separated by commas, instead of products; empty: all."),
    ("minimum_spend", "Minimum spend", "The order value from which the coupon can be used."),
    ("expires_after", "Valid for", "Such as P90D for 90 days; empty: COUPONS__EXPIRES_AFTER."),
    ("title", "Title", "Shown in the console only."),
)


def routes(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=pages.route_class(), include_in_schema=False)
    engine = pages.services.engine
    actions = reward_rules.RewardRuleActions(engine, pages.services.actions)

    @router.get("/console/rules")
    async def rules(request: Request) -> Response:
        await pages.visitor(request)
        async with read_connection(engine) as connection:
            return pages.show(request, "rules", rules=await reward_rules.listing(connection))

    @router.get("/console/rule")
    async def rule(request: Request, id: str = "") -> Response:  # noqa: A002  # the name of the query parameter
        await pages.visitor(request)
        async with read_connection(engine) as connection:
            versions = await reward_rules.history(connection, id.replace("\x00", "")) if id else []
        newest = versions[0] if versions else None
        fields = _fields(newest.definition) if newest and newest.definition else Form({"active": "on"})
        return _editor(request, id, fields, versions=versions)

    @router.post("/console/rule")
    async def put(request: Request) -> Response:
        visitor, form = await pages.form(request)
        rule_id = form["id"]
        if not 0 < len(rule_id) <= LONGEST_ID:
            return _editor(
                request, rule_id, form, 422, error_text="Id: enter the rule id that the Platform's redemptions use."
            )
        try:
            definition = RewardRuleDefinition.model_validate(_definition(form))
        except ValidationError as error:
            return _editor(request, rule_id, form, 422, error_text=_error_text(error))
        async with map_database_errors():
            stored, woken = await actions.put(rule_id, definition, visitor.name)
        notice = f"Version {stored.version} of {rule_id} is now in effect; {woken} waiting redemptions continue."
        return pages.back(request, visitor, build_url("/console/rule", id=rule_id), notice)

    @router.post("/console/rule/delete")
    async def delete(request: Request) -> Response:
        visitor, form = await pages.form(request)
        rule_id = form["id"]
        async with map_database_errors():
            deleted = await actions.delete(rule_id, visitor.name)
        if not deleted:
            raise PageError(404, "No rule has this id", "It may have been deleted already. See the list of rules.")
        return pages.back(request, visitor, "/console/rules", f"{rule_id} is deleted. Its versions are kept.")

    def _editor(
        request: Request,
        rule_id: str,
        form: Form,
        status: int = 200,
        error_text: str | None = None,
        versions: list[reward_rules.RuleVersion] | None = None,
    ) -> Response:
        form.setdefault("kind", RewardKind.FIXED_AMOUNT)
        return pages.show(
            request,
            "rule",
            status,
            id=rule_id,
            form=form,
            error_text=error_text,
            versions=versions or [],
            fields=FIELDS,
            kinds=list(RewardKind),
        )

    return router


def _fields(definition: RewardRuleDefinition) -> Form:
    """The rule as form fields."""
    fields = definition.model_dump(mode="json", exclude_none=True)
    for name in LISTS:
        fields[name] = ", ".join(fields[name])
    for name in ("increments", "active"):
        fields[name] = "on" if fields[name] else ""
    return Form({name: str(value) for name, value in fields.items()})


def _definition(form: Form) -> dict[str, object]:
    """The rule of the form, unvalidated. Empty fields are left out."""
    fields: dict[str, object] = {name: form[name] for name, _, _ in FIELDS if form[name]}
    lists = {name: [item.strip() for item in form[name].split(",") if item.strip()] for name in LISTS}
    return {
        **fields,
        **lists,
        "kind": form["kind"],
        "increments": bool(form["increments"]),
        "active": bool(form["active"]),
    }


def _error_text(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(step) for step in first["loc"])
    return f"{where}: {message_of(first)}" if where else message_of(first).removeprefix("Value error, ")
