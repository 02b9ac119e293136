"""A Medusa shop: its native bodies, and what its integration (a subscriber that fetches the entity) reports of them."""

from __future__ import annotations

from typing import Final

from ..call import Json  # noqa: TID252  # installed, the package has another name
from . import Order, Person, Product, captured, cents, event, instant

PAID: Final = "captured"
STATUSES: Final = {"pending": "pending", PAID: "paid", "refunded": "refunded", "cancelled": "voided"}
"""The order's payment status -> `financialStatus`. The captured order has no payment status: it has to be asked for."""


def customer(person: Person) -> Json:
    """The event of a customer."""
    body = captured("medusa_customer")
    body.update(id=customer_id(person), first_name=person.first, last_name=person.last, email=person.email)
    body.update(phone=person.phone, created_at=instant(person.since), updated_at=instant(person.changed))
    return event(
        id=body["id"], email=body["email"], firstName=body["first_name"], lastName=body["last_name"],
        phone=body["phone"], createdAt=body["created_at"], updatedAt=body["updated_at"],
    )  # fmt: skip


def product(made: Product) -> Json:
    """The event of a product; every product has a variant at least."""
    body = captured("medusa_product")
    body.update(id=product_id(made), title=made.title, handle=made.title.lower().replace(" ", "-"))
    body.update(updated_at=instant(made.changed))
    body["variants"] = [
        {**body["variants"][0], "id": variant_id(made, place), "title": title, "variant_rank": place}
        for place, title in enumerate(["S", "M", "L"][: max(1, made.variants)])
    ]
    return event(
        id=body["id"], title=body["title"], status="active" if body["status"] == "published" else "draft",
        externalUrlHandle=body["handle"], updatedAt=body["updated_at"],
        variants=[
            {"externalVariantId": v["id"], "title": v["title"], "position": v["variant_rank"]} for v in body["variants"]
        ],
    )  # fmt: skip


def order(made: Order) -> Json:
    """The event of an order; amounts are read from the exact `raw_…` members."""
    body = captured("medusa_order")
    body.update(id=f"order_{made.number:026}", display_id=made.number, email=made.email)
    body.update(customer_id=customer_id(made.buyer) if made.buyer else None, payment_status=made.status)
    body.update(created_at=instant(made.placed), updated_at=instant(made.changed))
    body["raw_total"]["value"], body["raw_item_subtotal"]["value"] = str(made.total), str(made.subtotal)
    first = body["items"][0]
    used = (
        [{"code": code, "raw_amount": {"value": str(off)}} for code, off in [made.discount] if code]
        if made.discount
        else []
    )
    body["items"] = [
        {**first, "product_id": product_id(sold), "variant_id": variant_id(sold, 0), "product_title": sold.title,
         "quantity": quantity, "raw_unit_price": {"value": str(sold.price)}, "adjustments": [] if place else used}
        for place, (sold, quantity) in enumerate(made.lines)
    ]  # fmt: skip
    codes = [adjustment for item in body["items"] for adjustment in item["adjustments"]]
    return event(
        id=body["id"], customerId=body["customer_id"], email=body["email"],
        financialStatus=STATUSES[body["payment_status"]], currency=body["currency_code"].upper(),
        totalPrice=cents(body["raw_total"]["value"]), subtotalPrice=cents(body["raw_item_subtotal"]["value"]),
        lineItems=[
            event(productId=item["product_id"], variantId=item["variant_id"], title=item["product_title"],
                  quantity=item["quantity"], price=cents(item["raw_unit_price"]["value"]))
            for item in body["items"]
        ],
        discountCodes=[{"code": c["code"], "amount": cents(c["raw_amount"]["value"])} for c in codes] or None,
        orderNumber=str(body["display_id"]), createdAt=body["created_at"], updatedAt=body["updated_at"],
    )  # fmt: skip


def customer_id(person: Person) -> str:
    """As Medusa makes them: a prefix and 26 characters."""
    return f"cus_{person.number:026}"


def product_id(made: Product) -> str:
    """As `customer_id`."""
    return f"prod_{made.number:026}"


def variant_id(made: Product, place: int) -> str:
    """As `customer_id`, for the variant at `place`."""
    return f"variant_{made.number * 100 + place:026}"
