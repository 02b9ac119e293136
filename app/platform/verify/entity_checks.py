"""The checks of customers, products and rewards. Pure."""

from collections.abc import Mapping
from typing import Final

from platform_relay.core import exact_json
from platform_relay.platform.verify.name_verdicts import name_verdict
from platform_relay.platform.verify.observations import Exchange, Observations
from platform_relay.platform.verify.samples import CUSTOMER_ID
from platform_relay.platform.verify.verdict import (
    NO_CHANGE,
    Check,
    Verdict,
    confirmed,
    customer_in,
    form_check,
    form_verdict,
    not_accepted,
    refuted,
    undecidable,
)

PUT_STEPS: Final = frozenset({"customer.create", "customer.names", "customer.update"})


def _upsert(seen: Observations) -> Verdict:
    name = "customer.upsert"
    puts = [exchange for exchange in seen.successes() if exchange.call.step in PUT_STEPS]
    if len(puts) < 2:
        return undecidable(name, not_accepted(seen.get("customer.update")))
    create, update = puts[0], puts[-1]
    ids = [exact_json.member(customer_in(exchange, seen), "id") for exchange in (create, update)]
    if None in ids:
        return confirmed(name, "Both requests were accepted. The responses have no `id` to compare.")
    if ids[0] == ids[1]:
        return confirmed(name, "Both requests were accepted, and both responses have the same `id`.")
    return refuted(name, "The second PUT created another customer. Do not go live before you have asked the Platform.")


def _readback(seen: Observations) -> Verdict:
    name, read = "customer.readback", seen.get("customer.read")
    if read is None or not read.accepted:
        return undecidable(name, not_accepted(read))
    customer = customer_in(read, seen)
    if not isinstance(customer, dict):
        return undecidable(name, "The response contains no customer.")
    if exact_json.text(customer.get("externalId")) == CUSTOMER_ID:
        return confirmed(name, "The store's id comes back as `externalId`.")
    return confirmed(name, "The customer comes back, without the store's id as `externalId`. " + NO_CHANGE)


def _customer_path(seen: Observations) -> Verdict:
    return form_verdict("response.customer", seen, seen.get("customer.update"), "The customer is at `{}` in responses.")


def _customers_path(seen: Observations) -> Verdict:
    name, find = "response.customers", seen.get("customer.find")
    if find is None or not find.accepted:
        return undecidable(name, not_accepted(find))
    if not isinstance(exact_json.at_path(find.json, seen.fields.path(name)), list):
        return undecidable(name, "The response to a search by e-mail address contains no list with the customer.")
    return form_verdict(name, seen, find, "The list is at `{}` in responses.")


def _variants_member(seen: Observations) -> Verdict:
    name, exchange = "product.variants", seen.get("variants.post")
    if exchange is None or not exchange.accepted:
        return undecidable(name, not_accepted(exchange))
    shown = name_verdict("variant.externalVariantId", seen)
    return (
        confirmed(name, "The variants come back.") if shown.result == "confirmed" else undecidable(name, shown.finding)
    )


def _variants_complete(seen: Observations) -> Verdict:
    name, both, fewer = "variants.complete", seen.get("variants.post"), seen.get("variants.fewer")
    counts = [_variant_count(exchange, seen) for exchange in (both, fewer)]
    if counts[0] != 2 or counts[1] is None:
        return undecidable(name, "The responses do not list the variants.")
    if counts[1] == 1:
        return confirmed(name, "The variant that was left out is gone.")
    return refuted(name, "The variant that was left out is still there. Deleted variants stay at the Platform.")


def _variant_count(exchange: Exchange | None, seen: Observations) -> int | None:
    rows = exact_json.member(exchange.json, "variants") if exchange is not None and exchange.accepted else None
    if rows is None and exchange is not None:
        rows = exact_json.at_path(exchange.json, (*seen.fields.path("response.customer")[:-1], "variants"))
    return len(rows) if isinstance(rows, list) else None


def _reward(seen: Observations) -> Verdict:
    name, exchange = "status.rewardUsed", seen.get("reward.unknown")
    if exchange is None or exchange.status is None:
        return undecidable(name, not_accepted(exchange))
    if exchange.status == 404:
        return undecidable(name, "An unknown coupon is answered with 404, as assumed. A second use was not tested.")
    if exchange.accepted:
        return refuted(name, f"The Platform accepts the use of a coupon that does not exist. {NO_CHANGE}")
    return undecidable(name, f"An unknown coupon is answered with {exchange.status}. A second use was not tested.")


CHECKS: Final[Mapping[str, Check]] = {
    "customer.upsert": _upsert,
    "customer.readback": _readback,
    "response.customer": _customer_path,
    "response.customers": _customers_path,
    "form.customer": form_check("form.customer", "customer.update", "All fields must be inside of the member `{}`."),
    "form.product": form_check("form.product", "product.put", "All fields must be inside of the member `{}`."),
    "product.variants": _variants_member,
    "variants.complete": _variants_complete,
    "status.rewardUsed": _reward,
}
