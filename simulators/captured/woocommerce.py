"""A WooCommerce shop: its native bodies, and what its integration reports of them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from ..call import Json  # noqa: TID252  # installed, the package has another name
from . import Order, Person, Product, captured, cents, event, instant

PAID: Final = "processing"
STATUSES: Final = {
    "pending": "pending", "on-hold": "pending", PAID: "paid", "completed": "paid", "refunded": "refunded",
    "cancelled": "voided", "failed": "voided",
}  # fmt: skip
"""The shop's order status -> `financialStatus`."""


def customer(person: Person) -> Json:
    """The event of a customer."""
    body = captured("woocommerce_customer")
    names = {"first_name": person.first, "last_name": person.last, "email": person.email}
    body.update(id=person.number, username=person.email.partition("@")[0], **names)
    body.update(date_created_gmt=_gmt(person.since), date_modified_gmt=_gmt(person.changed))
    body["billing"].update(names, phone=person.phone)
    return event(
        id=str(body["id"]), email=body["email"], firstName=body["first_name"], lastName=body["last_name"],
        phone=body["billing"]["phone"], createdAt=_iso(body["date_created_gmt"]),
        updatedAt=_iso(body["date_modified_gmt"]),
    )  # fmt: skip


def product(made: Product) -> Json:
    """The event of a product; a variable one knows its variations' ids only."""
    body = captured("woocommerce_product")
    slug = made.title.lower().replace(" ", "-")
    body.update(id=made.number, name=made.title, slug=slug, permalink=f"https://shop.example.com/product/{slug}/")
    body.update(price=cents(made.price), variations=variant_ids(made), type="variable" if made.variants else "simple")
    body.update(date_modified_gmt=_gmt(made.changed))
    variants = [
        {"externalVariantId": str(number), "position": place} for place, number in enumerate(body["variations"])
    ]
    return event(
        id=str(body["id"]), title=body["name"], imageUrl=f"https://shop.example.com/images/{body['slug']}.jpg",
        status="active" if body["status"] == "publish" else "draft", externalUrlHandle=body["slug"],
        variants=variants or None, updatedAt=_iso(body["date_modified_gmt"]),
    )  # fmt: skip


def order(made: Order) -> Json:
    """The event of an order, a guest's too (`customer_id` 0)."""
    body = captured("woocommerce_order" if made.buyer else "woocommerce_guest_order")
    body.update(id=made.number, number=str(made.number), status=made.status, total=cents(made.total))
    body.update(customer_id=made.buyer.number if made.buyer else 0, date_modified_gmt=_gmt(made.changed))
    body.update(date_created_gmt=_gmt(made.placed))
    body["billing"]["email"] = made.email
    if made.buyer:
        body["billing"].update(first_name=made.buyer.first, last_name=made.buyer.last, phone=made.buyer.phone)
    body["line_items"] = [
        {**body["line_items"][0], "id": place, "name": sold.title, "product_id": sold.number, "quantity": quantity,
         "variation_id": next(iter(variant_ids(sold)), 0), "subtotal": cents(sold.price * quantity),
         "price": float(sold.price)}
        for place, (sold, quantity) in enumerate(made.lines, start=1)
    ]  # fmt: skip
    used = [made.discount] if made.discount else []
    body["coupon_lines"] = [{**body["coupon_lines"][0], "code": code, "discount": str(off)} for code, off in used]
    return event(
        id=str(body["id"]), customerId=str(body["customer_id"] or ""), email=body["billing"]["email"],
        financialStatus=STATUSES[body["status"]], currency=body["currency"], totalPrice=body["total"],
        subtotalPrice=cents(sum((Decimal(line["subtotal"]) for line in body["line_items"]), Decimal(0))),
        lineItems=[_line(line) for line in body["line_items"]],
        discountCodes=[{"code": c["code"], "amount": cents(c["discount"])} for c in body["coupon_lines"]] or None,
        orderNumber=body["number"], createdAt=_iso(body["date_created_gmt"]), updatedAt=_iso(body["date_modified_gmt"]),
    )  # fmt: skip


def variant_ids(made: Product) -> list[int]:
    """The ids of a product's variations; the shop numbers all its things in one sequence."""
    return [made.number * 100 + place for place in range(1, made.variants + 1)]


def _line(line: Json) -> Json:
    return event(
        productId=str(line["product_id"]), variantId=str(line["variation_id"] or ""), title=line["name"],
        quantity=line["quantity"], price=cents(str(line["price"])),
    )  # fmt: skip


def _gmt(moment: datetime) -> str:
    """The shop writes UTC without a zone, and whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _iso(gmt: str) -> str:
    return instant(datetime.fromisoformat(gmt).replace(tzinfo=UTC))
