"""WooCommerce's coupons, with the answers and the silent changes observed on 9.9.5.

Surprising on purpose: a percent above 100 and text that is no amount become "0.00", a comma is dropped ("5,25" →
"525.00"), bad addresses vanish from email_restrictions, date_expires_gmt is ignored, milliseconds make a date lose its
zone, codes are unique by check-then-insert only (`coupon_race`).
"""

from __future__ import annotations

import asyncio
import html
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from .call import Call, Json, Response, json_response
from .shop_auth import refusal

if TYPE_CHECKING:
    from .shop import Shop

TYPES: dict[str, tuple[str, object]] = {
    "code": ("string", ""), "amount": ("string", "0.00"), "status": ("string", "publish"),
    "discount_type": ("string", "fixed_cart"), "description": ("string", ""), "individual_use": ("boolean", False),
    "product_ids": ("array", []), "excluded_product_ids": ("array", []), "usage_limit": ("integer", None),
    "usage_limit_per_user": ("integer", None), "limit_usage_to_x_items": ("integer", None),
    "free_shipping": ("boolean", False), "product_categories": ("array", []),
    "excluded_product_categories": ("array", []), "exclude_sale_items": ("boolean", False),
    "minimum_amount": ("string", "0.00"), "maximum_amount": ("string", "0.00"), "email_restrictions": ("array", []),
    "meta_data": ("array", []),
}  # fmt: skip
"""Writable fields: JSON type and default. date_expires is apart; every other field is ignored, as in the store."""

DISCOUNT_TYPES = ("percent", "fixed_cart", "fixed_product")


def _is_of_type(value: object, kind: str) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool) or value in ("true", "false", 0, 1, "0", "1")
        case "integer":
            if isinstance(value, bool):
                return False
            return isinstance(value, int) or (isinstance(value, str) and re.fullmatch(r"-?\d+", value) is not None)
        case _:
            return isinstance(value, list)


def check_types(body: Json) -> None:
    """Raise the 400 `rest_invalid_param` WordPress gives for wrong types and unknown discount types."""
    wrong: dict[str, tuple[str, str]] = {}
    for name, (kind, default) in TYPES.items():
        if name not in body or (body[name] is None and default is None):
            continue
        if not _is_of_type(body[name], kind):
            wrong[name] = ("rest_invalid_type", f"{name} is not of type {kind}.")
    if "discount_type" in body and "discount_type" not in wrong and body["discount_type"] not in DISCOUNT_TYPES:
        text = "discount_type is not one of percent, fixed_cart, and fixed_product."
        wrong["discount_type"] = ("rest_not_in_enum", text)
    if body.get("date_expires") is not None and not isinstance(body["date_expires"], str):
        wrong["date_expires"] = ("rest_invalid_type", "date_expires is not of type string.")
    if wrong:
        raise refusal(
            400, "rest_invalid_param", f"Invalid parameter(s): {', '.join(wrong)}",
            params={name: text for name, (_, text) in wrong.items()},
            details={name: {"code": code, "message": text, "data": None} for name, (code, text) in wrong.items()},
        )  # fmt: skip


def stored_amount(text: str) -> Decimal:
    """What the store makes of an amount: all but digits, dot and minus dropped; nothing left is 0."""
    try:
        return Decimal(re.sub(r"[^0-9.\-]", "", text)).quantize(Decimal("0.01"))
    except InvalidOperation:
        return Decimal("0.00")


def stored_code(text: str) -> str:
    """What the store makes of a code: tags stripped, the rest escaped."""
    return html.escape(re.sub(r"</?[a-zA-Z][^>]*>", "", text).strip(), quote=False)


def stored_email_restrictions(given: list[object]) -> list[str]:
    """The addresses that survive, in lower case; the others vanish without a word."""
    lowered = [str(address).strip().lower() for address in given]
    return [address for address in lowered if re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", address)]


def stored_expiry(text: str | None, offset: timedelta) -> datetime | None:
    """The instant (UTC) the store understands, None for none or junk. `offset` is the store's distance from UTC."""
    if not text:
        return None
    text = re.sub(r"\.\d+(Z|[+-]\d\d:?\d\d)?$", "", text.strip())
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else (moment - offset).replace(tzinfo=UTC)


def stored_fields(body: Json) -> Json:
    """The writable fields of a checked body, each as the store keeps it; expiry and meta_data are not treated here."""
    changes: dict[str, Callable[[Any], object]] = {
        "amount": lambda text: str(stored_amount(text)),
        "minimum_amount": lambda text: str(stored_amount(text)),
        "maximum_amount": lambda text: str(stored_amount(text)),
        "code": stored_code,
        "email_restrictions": stored_email_restrictions,
    }
    by_type: dict[str, Callable[[Any], object]] = {
        "integer": lambda value: None if value is None else int(value),
        "boolean": lambda value: value in (True, "true", "1"),
    }
    stored: Json = {}
    for name, (kind, _) in TYPES.items():
        if name in body:
            change = changes.get(name) or by_type.get(kind)
            stored[name] = change(body[name]) if change else body[name]
    return stored


class Coupons:
    """The store's coupons by id, trashed ones among them."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.clear()

    def clear(self) -> None:
        """No coupons."""
        self.by_id: dict[int, Json] = {}
        self.by_code: dict[str, list[Json]] = {}
        self._made_at: dict[int, float] = {}

    def live(self, code: str) -> list[Json]:
        """The coupons of that code, in any case, that are not in the trash; the oldest first."""
        return self.by_code.get(stored_code(code).lower(), [])

    def _shown(self, code: str) -> list[Json]:
        """What a look-up sees: not what is newer than `stale_read` seconds."""
        config, rows = self.shop.config, self.live(code)
        if not config.stale_read or not stored_code(code).startswith(config.stale_code):
            return rows
        old = time.monotonic() - config.stale_read
        return [row for row in rows if self._made_at.get(row["id"], 0.0) <= old]

    async def index(self, call: Call) -> Response:
        """GET /coupons; with `code` the exact one, in any case: the newest alone where the race made two."""
        if "code" in call.query:
            return self.shop.page(call, self._shown(call.query["code"])[-1:])
        return self.shop.page(call, [coupon for coupon in self.by_id.values() if coupon["status"] != "trash"])

    async def create(self, call: Call) -> Response:
        """POST /coupons."""
        body = call.object
        check_types(body)
        if "code" not in body:
            raise refusal(400, "rest_missing_callback_param", "Missing parameter(s): code", params=["code"])
        code = stored_code(body["code"])
        if not code:
            raise refusal(400, "woocommerce_rest_empty_coupon_code", "The coupon code cannot be empty.")
        if self.live(code):
            call.duplicate()
            text = "The coupon code already exists"
            raise refusal(400, "woocommerce_rest_coupon_code_already_exists", text)
        coupon = self._written({}, body)
        if self.shop.config.coupon_race:
            await asyncio.sleep(self.shop.config.coupon_race)
        coupon["id"] = self.shop.new_id()
        self.by_id[coupon["id"]] = coupon
        self._made_at[coupon["id"]] = time.monotonic()
        self.by_code.setdefault(code.lower(), []).append(coupon)
        call.applied()
        location = {"location": self.shop.url(call, f"coupons/{coupon['id']}")}
        return json_response(201, self.shop.shown(call, "coupons", coupon), location)

    def _get(self, call: Call) -> Json:
        coupon = self.by_id.get(int(call.argument)) if call.argument.isdigit() else None
        if coupon is None:
            raise refusal(404, "woocommerce_rest_shop_coupon_invalid_id", "Invalid ID.")
        return coupon

    async def get(self, call: Call) -> Response:
        """GET /coupons/{id}; a trashed one is still shown."""
        return json_response(200, self.shop.shown(call, "coupons", self._get(call)))

    async def update(self, call: Call) -> Response:
        """PUT /coupons/{id}."""
        coupon = self._get(call)
        body = call.object
        check_types(body)
        if "code" in body:
            code = stored_code(body["code"])
            if any(other is not coupon for other in self.live(code)):
                raise refusal(400, "woocommerce_rest_coupon_code_already_exists", "The coupon code already exists")
        written = self._written(coupon, body)
        self._unlist(coupon)
        coupon.update(written)
        if coupon["status"] != "trash":
            self.by_code.setdefault(coupon["code"].lower(), []).append(coupon)
        call.applied()
        return json_response(200, self.shop.shown(call, "coupons", coupon))

    async def delete(self, call: Call) -> Response:
        """DELETE /coupons/{id}: to the trash, or away for good with `force=true`."""
        coupon = self._get(call)
        force = str(call.query.get("force", call.object.get("force", ""))).lower() in ("1", "true")
        if not force and coupon["status"] == "trash":
            raise refusal(410, "woocommerce_rest_already_trashed", "The shop_coupon has already been deleted.")
        self._unlist(coupon)
        if force:
            del self.by_id[coupon["id"]]
        else:
            coupon["status"] = "trash"
        call.applied()
        return json_response(200, self.shop.shown(call, "coupons", coupon))

    def _unlist(self, coupon: Json) -> None:
        rows = self.by_code.get(coupon["code"].lower(), [])
        rows[:] = [row for row in rows if row is not coupon]
        if not rows:
            self.by_code.pop(coupon["code"].lower(), None)

    def _written(self, coupon: Json, body: Json) -> Json:
        """What the coupon is after this write; raises the 400 for a negative amount."""
        local, utc = self.shop.now()
        result: Json = {
            "id": 0, **{name: default for name, (_, default) in TYPES.items()}, "date_expires": None,
            "date_expires_gmt": None, "usage_count": 0, "used_by": [], "date_created": local, "date_created_gmt": utc,
            **coupon, "date_modified": local, "date_modified_gmt": utc,
        }  # fmt: skip
        given = stored_fields(body)
        kind = given.get("discount_type", result["discount_type"])
        amount = Decimal(given.get("amount", "0"))
        if amount < 0:
            raise refusal(400, "coupon_invalid_amount", "Invalid discount amount.")
        if kind == "percent" and amount > 100:
            given["amount"] = "0.00"
        if "meta_data" in given:
            pairs = [item for item in given["meta_data"] if isinstance(item, dict) and "key" in item]
            given["meta_data"] = [{"id": self.shop.new_id(), "key": p["key"], "value": p.get("value")} for p in pairs]
        if "date_expires" in body:
            offset = timedelta(hours=self.shop.config.utc_offset_hours)
            moment = stored_expiry(body["date_expires"], offset)
            given["date_expires_gmt"] = moment.strftime("%Y-%m-%dT%H:%M:%S") if moment else None
            given["date_expires"] = (moment + offset).strftime("%Y-%m-%dT%H:%M:%S") if moment else None
        distorted = str(given.get("code", result["code"])).startswith(self.shop.config.distort_code)
        return {**result, **given, **(self.shop.config.distort if distorted else {})}
