"""Medusa's admin API in memory, with the answers observed on 2.21.2.

Surprising on purpose: a creation is answered with 200, every refusal has the same `type`, codes differ by case, a deleted
promotion leaves its campaign (and that campaign's identifier) behind, deleting twice is 200 both times, and a path that
does not exist is Express's page.
"""

from __future__ import annotations

import base64
import copy
import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote

from simulators.call import Call, Json, Response, json_response
from simulators.deliveries import Deliveries
from simulators.program import Control
from tests.contract.doubles.process import serve

LISTS = ("customers", "orders", "products", "payments")
REQUIRED = ("code", "type", "application_method")


@dataclass
class MedusaConfig:
    """`distort` overwrites fields of every promotion's method; `hidden` lookups show nothing (stale read-back)."""

    CHOICES: ClassVar[dict[str, tuple[object, ...]]] = {}

    api_key: str = "sk_0123456789abcdef"
    read_only: bool = False
    permissions: list[str] = field(default_factory=lambda: [*LISTS, "promotions", "campaigns", "stores"])
    """The resources that the role of the key may read and, without `read_only`, change."""
    currencies: list[str] = field(default_factory=lambda: ["eur"])
    distort: Json = field(default_factory=dict)
    hidden: int = 0


def page_not_found(call: Call) -> Response:
    """Express's own 404."""
    page = f"<!DOCTYPE html>\n<html><body><pre>Cannot {call.method} {call.path}</pre></body></html>"
    return Response(404, page.encode(), [(b"content-type", b"text/html; charset=utf-8")])


def refused(message: str, status: int = 400, kind: str = "invalid_data") -> Response:
    """Medusa's refusal."""
    return json_response(status, {"type": kind, "message": message})


def exact(value: float) -> Json:
    """The exact text beside a number."""
    return {"value": f"{Decimal(str(value)).normalize():f}", "precision": 20}


class Medusa:
    """State and behaviour of the store."""

    once = frozenset({"coupon.create"})

    def __init__(self) -> None:
        self.config = MedusaConfig()
        self.deliveries = Deliveries()
        self.controls: dict[str, Control] = {"seed": self._seed, "replace": self._seed}
        self.reset()

    def reset(self) -> None:
        """An empty shop."""
        self._ids = itertools.count(1)
        self.promotions: dict[str, Json] = {}
        self.campaigns: dict[str, Json] = {}
        self.lists: dict[str, list[Json]] = {name: [] for name in LISTS}

    def identify(self, call: Call) -> None:
        """Route the call."""
        match [call.method, *call.path.strip("/").split("/")]:
            case ["GET", "admin", "stores"]:
                call.kind, call.handler = "stores", self._stores
            case ["GET", "admin", "promotions"]:
                call.kind, call.handler = "coupon.find", self._find
            case ["POST", "admin", "promotions"]:
                call.kind, call.handler = "coupon.create", self._create
                call.entity = f"coupon:{call.object.get('code')}"
            case ["DELETE", "admin", "promotions", argument]:
                call.kind, call.handler, call.argument = "coupon.delete", self._delete, unquote(argument)
            case ["GET", "admin", "campaigns"]:
                call.kind, call.handler = "campaign.find", self._find_campaign
            case ["DELETE", "admin", "campaigns", argument]:
                call.kind, call.handler, call.argument = "campaign.delete", self._delete_campaign, unquote(argument)
            case ["POST", "admin", "customers", argument]:
                call.kind, call.handler, call.argument = "customer.update", self._update_customer, unquote(argument)
            case ["GET", "admin", name] if name in LISTS:
                call.kind, call.handler, call.argument = f"{name}.list", self._list, name
            case ["GET", "admin", name, argument] if name in LISTS:
                call.kind, call.handler, call.argument = f"{name}.get", self._get, f"{name}/{unquote(argument)}"

    async def answer(self, call: Call) -> Response:
        """Authenticate, then handle."""
        if call.handler is None:
            return page_not_found(call)
        wanted = base64.b64encode(f"{self.config.api_key}:".encode()).decode()
        if call.header(b"authorization") != f"Basic {wanted}":
            return json_response(401, {"message": "Unauthorized"})
        resource = call.path.strip("/").split("/")[1]
        if (self.config.read_only and call.method != "GET") or resource not in self.config.permissions:
            return refused("Forbidden", 403, "forbidden")
        return await call.handler(call)

    async def _stores(self, _call: Call) -> Response:
        currencies = [{"currency_code": code} for code in self.config.currencies]
        return json_response(200, {"stores": [{"id": "store_1", "supported_currencies": currencies}], "count": 1})

    # -- promotions ---------------------------------------------------------------------------------------------------

    async def _find(self, call: Call) -> Response:
        rows = [row for row in self.promotions.values() if row["code"] == call.query.get("code")]
        if self.config.hidden:
            self.config.hidden -= 1
            rows = []
        return json_response(200, {"promotions": rows, "count": len(rows), "offset": 0, "limit": 50})

    async def _create(self, call: Call) -> Response:
        asked = call.object
        if missing := [name for name in REQUIRED if name not in asked]:
            return refused("Invalid request: " + "; ".join(f"Field '{name}' is required" for name in missing))
        if not isinstance(asked["application_method"].get("value"), int | float):
            return refused(
                "Invalid request: Expected type: 'number' for field 'application_method, value', got: 'string'"
            )
        if any(row["code"] == asked["code"] for row in self.promotions.values()):
            call.duplicate()
            return refused(f"Promotion with code: {asked['code']}, already exists.")
        campaign = asked.get("campaign")
        if campaign and self._campaign(campaign["campaign_identifier"]):
            name = campaign["campaign_identifier"]
            return refused(f"Promotion campaign with campaign_identifier: {name}, already exists.")
        row = self._stored(copy.deepcopy(asked))
        self.promotions[row["id"]] = row
        call.applied()
        return json_response(200, {"promotion": row})

    def _stored(self, asked: Json) -> Json:
        number, now = next(self._ids), datetime.now(UTC).isoformat()
        method = {
            "id": f"proappmet_{number}", "currency_code": None, "max_quantity": None, "apply_to_quantity": None,
            "allocation": None, "buy_rules": [], "target_rules": [], **asked["application_method"], **self.config.distort,
        }  # fmt: skip
        method["raw_value"] = exact(method["value"])
        method["target_rules"] = [self._rule(rule) for rule in method["target_rules"]]
        campaign = asked.get("campaign")
        if campaign:
            campaign = {"starts_at": None, "ends_at": None, "budget": None, **campaign, "id": f"procamp_{number}"}
            for name in ("starts_at", "ends_at"):
                campaign[name] = campaign[name] and campaign[name].replace("Z", ".000Z")
            if campaign["budget"]:
                campaign["budget"]["raw_limit"] = exact(campaign["budget"]["limit"])
            self.campaigns[campaign["id"]] = campaign
        return {
            "is_automatic": False, "is_tax_inclusive": False, "limit": None, "used": 0, "status": "draft",
            "metadata": None, "created_at": now, "updated_at": now, "deleted_at": None, **asked,
            "id": f"promo_{number}", "campaign_id": campaign and campaign["id"], "campaign": campaign,
            "application_method": method, "rules": [self._rule(rule) for rule in asked.get("rules", [])],
        }  # fmt: skip

    @staticmethod
    def _rule(rule: Json) -> Json:
        return {**rule, "values": [{"value": value} for value in rule["values"]]}

    async def _delete(self, call: Call) -> Response:
        if self.promotions.pop(call.argument, None):
            call.applied()
        return json_response(200, {"id": call.argument, "object": "promotion", "deleted": True})

    def _campaign(self, identifier: str) -> Json | None:
        rows = self.campaigns.values()
        return next((row for row in rows if row["campaign_identifier"] == identifier), None)

    async def _find_campaign(self, call: Call) -> Response:
        row = self._campaign(call.query.get("campaign_identifier", ""))
        rows = []
        if row:
            used = [{"id": each["id"]} for each in self.promotions.values() if each["campaign_id"] == row["id"]]
            rows = [{"id": row["id"], "campaign_identifier": row["campaign_identifier"], "promotions": used}]
        return json_response(200, {"campaigns": rows, "count": len(rows), "offset": 0, "limit": 50})

    async def _delete_campaign(self, call: Call) -> Response:
        self.campaigns.pop(call.argument, None)
        return json_response(200, {"id": call.argument, "object": "campaign", "deleted": True})

    # -- lists --------------------------------------------------------------------------------------------------------

    async def _list(self, call: Call) -> Response:
        query = parse_qsl(call.query_string.decode())
        ids = [value for name, value in query if name == "id[]"]
        since = datetime.fromisoformat(call.query.get("updated_at[$gte]", "1970-01-01T00:00:00+00:00"))
        rows = [row for row in self.lists[call.argument] if datetime.fromisoformat(row["updated_at"]) >= since]
        rows = [row for row in rows if not ids or row["id"] in ids]
        if call.query.get("has_account") == "true":
            rows = [row for row in rows if row.get("has_account") is not False]
        rows.sort(key=lambda row: str(row["id"]))  # `order=id`
        offset, limit = int(call.query.get("offset", "0")), int(call.query.get("limit", "50"))
        shown = rows[offset : offset + limit]
        return json_response(200, {call.argument: shown, "count": len(rows), "offset": offset, "limit": limit})

    async def _get(self, call: Call) -> Response:
        name, _, identifier = call.argument.partition("/")
        row = next((row for row in self.lists[name] if row["id"] == identifier), None)
        if row is None:
            return refused(f"{name} id not found: {identifier}", 404, "not_found")
        return json_response(200, {name.removesuffix("s"): row})

    async def _update_customer(self, call: Call) -> Response:
        """Metadata is merged; an empty text takes a key away."""
        row = next((row for row in self.lists["customers"] if row["id"] == call.argument), None)
        if row is None:
            return refused(f"Customer with id: {call.argument} was not found", 404, "not_found")
        merged = {**(row.get("metadata") or {}), **call.object.get("metadata", {})}
        row["metadata"] = {key: value for key, value in merged.items() if value != ""}
        call.applied()
        return json_response(200, {"customer": row})

    # -- control ------------------------------------------------------------------------------------------------------

    async def _seed(self, given: Json) -> Json:
        """`{"orders": […], …}` replaces the lists named; `{"campaigns": […]}`, `{"promotions": […]}` are added."""
        for name, held in (("promotions", self.promotions), ("campaigns", self.campaigns)):
            held.update({row["id"]: row for row in given.pop(name, [])})
        self.lists |= given
        return {"ok": True}

    def summary(self, full: bool) -> Json:  # noqa: ARG002  # asked for by name
        """Counts."""
        return {"state": {"promotions": len(self.promotions), "campaigns": len(self.campaigns)}}

    def state(self, query: dict[str, str]) -> object:
        """`kind` promotions | campaigns | customers."""
        if query["kind"] == "customers":
            return self.lists["customers"]
        held: dict[str, Any] = {"promotions": self.promotions, "campaigns": self.campaigns}
        return list(held[query["kind"]].values())


if __name__ == "__main__":
    serve("medusa", Medusa)
