"""Magento's REST API in memory, with the answers observed on Open Source 2.4.7-p3.

Surprising on purpose: rule names may repeat, 150 % and unknown actions are taken, a malformed date is a 500, error
messages are templates, codes are unique in any spelling, `to_date` is a day, a page behind the last is the last again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from simulators.call import Call, Json, RefusalError, Response, json_response
from simulators.deliveries import Deliveries
from simulators.program import Control
from tests.contract.doubles.process import serve

API = "/rest/V1/"
LISTS = {"customers/search": "customers", "orders": "orders", "products": "products"}
COUPON = {"rule_id", "code", "usage_limit", "usage_per_customer", "times_used", "is_primary", "type"}
FILTER = re.compile(r"searchCriteria\[filterGroups\]\[(\d+)\]\[filters\]\[0\]\[(field|value|conditionType)\]")


RESOURCES = (
    ("salesRules", "Magento_SalesRule::quote"), ("coupons", "Magento_SalesRule::quote"),
    ("store/", "Magento_Backend::store"), ("products", "Magento_Catalog::products"),
    ("orders", "Magento_Sales::actions_view"), ("customers", "Magento_Customer::customer"),
)  # fmt: skip
"""What Magento 2.4's `webapi.xml` requires for the paths that begin so."""


@dataclass
class MagentoConfig:
    """`distort` overwrites fields of every rule stored; `hidden` searches of coupons show nothing (stale read-back)."""

    CHOICES: ClassVar[dict[str, tuple[object, ...]]] = {}

    username: str = "relay-user"
    password: str = "relay-password"
    integration_token: str = "integration-token"
    token_uses: int = 0
    """How many calls an admin token is good for; 0: any number."""
    permissions: list[str] = field(default_factory=lambda: sorted({resource for _, resource in RESOURCES}))
    """The resources of the account's role."""
    distort: Json = field(default_factory=dict)
    hidden: int = 0
    clock_ahead: float = 0
    """Seconds by which the store's clock is ahead."""
    timezone: str = "Europe/Berlin"
    currency: str = "EUR"
    other_currency: str = ""
    """The base currency of a second store view of the same website, if any."""


def refusal(status: int, message: str, parameters: object = None) -> RefusalError:
    """An error in Magento's shape."""
    return RefusalError(
        json_response(
            status, {"message": message} if parameters is None else {"message": message, "parameters": parameters}
        )
    )


class Magento:
    """State and behaviour of the store."""

    once = frozenset({"coupon.create"})

    def __init__(self) -> None:
        self.config = MagentoConfig()
        self.deliveries = Deliveries()
        self.controls: dict[str, Control] = {"seed": self._seed, "replace": self._seed, "expire-tokens": self._expire}
        self.reset()

    def reset(self) -> None:
        """An empty shop."""
        self.rules: dict[int, Json] = {}
        self.coupons: dict[int, Json] = {}
        self.tokens: dict[str, int] = {}
        self.lists: dict[str, list[Json]] = {name: [] for name in LISTS.values()}
        self._last_id = 0

    def _new_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def identify(self, call: Call) -> None:
        """Route the call."""
        if not call.path.startswith(API):
            return
        path = call.path.removeprefix(API)
        call.argument = path.rpartition("/")[2]
        family = path.partition("/")[0]
        routes: dict[tuple[str, str], tuple[str, Callable[[Call], Response]]] = {
            ("GET", f"salesRules/{call.argument}"): ("rule.get", lambda call: json_response(200, self._rule(call))),
            ("DELETE", f"salesRules/{call.argument}"): ("rule.delete", self._delete_rule),
            ("DELETE", f"coupons/{call.argument}"): ("coupon.delete", self._delete_coupon),
            ("POST", "integration/admin/token"): ("token", self._token),
            ("GET", "store/storeConfigs"): ("config", self._store_configs),
            ("POST", "salesRules"): ("rule.create", self._create_rule),
            ("GET", "salesRules/search"): ("rule.search", lambda call: self._found(call, self.rules.values())),
            ("POST", "coupons"): ("coupon.create", self._create_coupon),
            ("GET", "coupons/search"): ("coupon.search", self._search_coupons),
        }
        for list_path, name in LISTS.items():
            routes["GET", list_path] = f"{name}.list", partial(self._list, name=name)
        found = routes.get((call.method, path))
        if found is None:
            return
        call.kind, handler = found
        call.entity = f"{family}:{call.argument}"
        if call.kind == "coupon.create":
            call.entity = f"coupon:{str(call.object.get('coupon', {}).get('code')).lower()}"

        async def handle(call: Call) -> Response:
            return handler(call)

        call.handler = handle

    async def answer(self, call: Call) -> Response:
        """Authorize and handle the call."""
        if call.handler is None:
            raise refusal(404, "Request does not match any route.")
        if call.kind != "token":
            self._authorize(call)
        return await call.handler(call)

    def _authorize(self, call: Call) -> None:
        token = call.header(b"authorization").removeprefix("Bearer ")
        known = token == self.config.integration_token or token in self.tokens
        if token in self.tokens:
            self.tokens[token] += 1
            known = not self.config.token_uses or self.tokens[token] <= self.config.token_uses
        path = call.path.removeprefix(API).strip("/") + "/"
        resource = next(resource for beginning, resource in RESOURCES if path.startswith(beginning))
        if not known or resource not in self.config.permissions:
            raise refusal(401, "The consumer isn't authorized to access %resources.", {"resources": resource})

    def _token(self, call: Call) -> Response:
        if call.object != {"username": self.config.username, "password": self.config.password}:
            text = (
                "The account sign-in was incorrect or your account is disabled temporarily. "
                "Please wait and try again later."
            )
            raise refusal(401, text)
        token = f"admin-token-{self._new_id()}"
        self.tokens[token] = 0
        call.applied()
        return json_response(200, token)

    def _store_configs(self, _call: Call) -> Response:
        row = {
            "id": 1, "code": "default", "website_id": 1, "locale": "en_US", "base_currency_code": self.config.currency,
            "default_display_currency_code": self.config.currency, "timezone": self.config.timezone,
            "secure_base_media_url": "https://shop.example/media/",
        }  # fmt: skip
        other = {**row, "id": 2, "code": "other", "base_currency_code": self.config.other_currency}
        return json_response(200, [row, other] if self.config.other_currency else [row])

    # -- rules and coupons --------------------------------------------------------------------------------------------

    def _create_rule(self, call: Call) -> Response:
        given = call.object.get("rule", {})
        if (amount := given.get("discount_amount", 0)) < 0:
            raise refusal(400, 'The "%1" value is invalid: %2', ["discount_amount", amount])
        if given.get("to_date"):
            try:
                date.fromisoformat(given["to_date"])
            except ValueError:
                raise refusal(500, "Internal Error. Details are available in Magento log file. Report ID: x") from None
        root = "Magento\\SalesRule\\Model\\Rule\\Condition\\"
        rule = {
            "store_labels": [], "product_ids": [], "uses_per_coupon": 0, "from_date": self._today(),
            "condition": {"condition_type": f"{root}Combine", "aggregator_type": "all", "operator": None, "value": "1"},
            "action_condition": {
                "condition_type": f"{root}Product\\Combine", "aggregator_type": "all", "operator": None, "value": "1"
            },
            **given, "rule_id": self._new_id(), **self.config.distort,
        }  # fmt: skip
        self.rules[rule["rule_id"]] = rule
        call.applied()
        return json_response(200, rule)

    def _today(self) -> str:
        now = datetime.now(ZoneInfo(self.config.timezone)) + timedelta(seconds=self.config.clock_ahead)
        return now.date().isoformat()

    def _create_coupon(self, call: Call) -> Response:
        given = call.object.get("coupon", {})
        for name in set(given) - COUPON:
            raise refusal(
                400, '"%fieldName" is not supported. Correct the field name and try again.', {"fieldName": name}
            )
        rule = self.rules.get(given.get("rule_id"))
        if rule is None:
            raise refusal(400, "Error occurred when saving coupon: %1", ["Specified rule does not exist"])
        if any(row["code"].casefold() == given["code"].casefold() for row in self.coupons.values()):
            call.duplicate()
            raise refusal(400, "%1 already exists.", ["Coupon with the same code"])
        limits = {
            "usage_limit": rule["uses_per_coupon"] or None,
            "usage_per_customer": rule["uses_per_customer"] or None,
        }
        coupon = {**given, **limits, "coupon_id": self._new_id(), "times_used": 0}
        self.coupons[coupon["coupon_id"]] = coupon
        call.applied()
        return json_response(200, coupon)

    def _search_coupons(self, call: Call) -> Response:
        if self.config.hidden:
            self.config.hidden -= 1
            return self._found(call, [])
        return self._found(call, self.coupons.values())

    def _rule(self, call: Call) -> Json:
        rule = self.rules.get(int(call.argument)) if call.argument.isdigit() else None
        if rule is None:
            raise refusal(
                404, "No such entity with %fieldName = %fieldValue",
                {"fieldName": "rule_id", "fieldValue": call.argument},
            )  # fmt: skip
        return rule

    def _delete_rule(self, call: Call) -> Response:
        rule = self._rule(call)
        del self.rules[rule["rule_id"]]
        self.coupons = {key: row for key, row in self.coupons.items() if row["rule_id"] != rule["rule_id"]}
        call.applied()
        return json_response(200, True)

    def _delete_coupon(self, call: Call) -> Response:
        if self.coupons.pop(int(call.argument), None) is None:
            raise refusal(
                404, "No such entity with %fieldName = %fieldValue",
                {"fieldName": "coupon_id", "fieldValue": call.argument},
            )  # fmt: skip
        call.applied()
        return json_response(200, True)

    # -- searches -----------------------------------------------------------------------------------------------------

    def _list(self, call: Call, name: str) -> Response:
        """Products of any id exist, unless some were seeded."""
        rows = self.lists[name]
        searched = call.query.get("searchCriteria[filterGroups][0][filters][0][field]")
        if name == "products" and not rows and call.query.get("fields") and searched != "updated_at":
            values = call.query["searchCriteria[filterGroups][0][filters][0][value]"].split(",")
            rows = [
                {"id": int(re.sub(r"\D", "", each)), "sku": f"SKU-{re.sub(r'[^0-9]', '', each)}"} for each in values
            ]
        return self._found(call, rows)

    def _found(self, call: Call, rows: Any) -> Response:
        """The rows that the filters let through, sorted, as one page; behind the last page comes the last again."""
        groups: dict[str, dict[str, str]] = {}
        for name, value in call.query.items():
            if matched := FILTER.fullmatch(name):
                groups.setdefault(matched[1], {})[matched[2]] = value
        chosen = [row for row in rows if all(_passes(row, each) for each in groups.values())]
        for number in (1, 0):
            key = call.query.get(f"searchCriteria[sortOrders][{number}][field]")
            if key:
                chosen.sort(key=partial(_value, name=key))
        size, page = (int(call.query[f"searchCriteria[{name}]"]) for name in ("pageSize", "currentPage"))
        page = min(page, max(1, -(-len(chosen) // size)))
        fields = set(re.findall(r"\w+", call.query.get("fields", "").partition("items[")[2]))
        shown = chosen[(page - 1) * size : page * size]
        if fields:  # as the store, but without regard to where a field stands
            shown = [{name: value for name, value in row.items() if name in fields} for row in shown]
        answer: Json = {"items": shown, "total_count": len(chosen)}
        return json_response(200, answer | ({} if call.query.get("fields") else {"search_criteria": {}}))

    # -- control ------------------------------------------------------------------------------------------------------

    async def _seed(self, given: Json) -> Json:
        """`{"orders": […], …}` replaces the lists named; `{"rules": […]}` puts in rules, each with its `code`."""
        for rule in given.pop("rules", []):
            code = rule.pop("code", None)
            row = {**rule, "rule_id": self._new_id()}
            self.rules[row["rule_id"]] = row
            if code:
                coupon = {"rule_id": row["rule_id"], "code": code, "times_used": 0, "coupon_id": self._new_id()}
                self.coupons[coupon["coupon_id"]] = coupon
        self.lists |= given
        return {"ok": True}

    async def _expire(self, _given: Json) -> Json:
        """No admin token is good any more."""
        self.tokens.clear()
        return {"ok": True}

    def summary(self, full: bool) -> Json:  # noqa: ARG002  # asked for by name
        """Counts."""
        return {"state": {"rules": len(self.rules), "coupons": len(self.coupons)}}

    def state(self, query: dict[str, str]) -> object:
        """`kind` rules | coupons | tokens."""
        return {"rules": list(self.rules.values()), "coupons": list(self.coupons.values()), "tokens": self.tokens}[
            query["kind"]
        ]


def _value(row: Json, name: str) -> Any:
    return row.get(name, row.get("id")) if name == "entity_id" else row.get(name)


def _passes(row: Json, given: dict[str, str]) -> bool:
    """One filter; MySQL compares texts without case, and numbers as numbers."""
    is_, wanted = _value(row, given["field"]), given["value"]
    if isinstance(is_, int):
        return {
            "eq": lambda: str(is_) == wanted, "neq": lambda: str(is_) != wanted,
            "gt": lambda: is_ > int(wanted), "in": lambda: str(is_) in wanted.split(","),
        }[given["conditionType"]]()  # fmt: skip
    text = str(is_).casefold()
    return {
        "eq": lambda: text == wanted.casefold(),
        "neq": lambda: text != wanted.casefold(),
        "gt": lambda: text > wanted,
        "gteq": lambda: text >= wanted,
        "in": lambda: text in wanted.casefold().split(","),
    }[given["conditionType"]]()


if __name__ == "__main__":
    serve("magento", Magento)
