"""The checks of orders and their points. Pure."""

from collections.abc import Mapping
from typing import Final

from platform_relay.core import exact_json
from platform_relay.core.exact_json import ExactJson
from platform_relay.platform.responses import Accepted, RejectionKind
from platform_relay.platform.verify.observations import Exchange, Observations
from platform_relay.platform.verify.samples import STATUSES
from platform_relay.platform.verify.verdict import (
    NO_CHANGE,
    Check,
    Verdict,
    confirmed,
    form_check,
    is_rejected,
    message_of,
    never,
    not_accepted,
    refuted,
    stable_part,
    undecidable,
)


def _statuses(seen: Observations) -> Verdict:
    name = "order.statuses"
    exchanges = {status: seen.get(f"order.status.{status}") for status in STATUSES}
    missing = [status for status, exchange in exchanges.items() if exchange is None or exchange.status is None]
    rejected = [status for status, exchange in exchanges.items() if exchange is not None and not exchange.accepted]
    if len(missing) == len(STATUSES):
        return undecidable(name, "No test order could be created.")
    if rejected or missing:
        return refuted(name, f"The Platform does not accept: {', '.join([*rejected, *missing])}.")
    return confirmed(name, "All eight are accepted.")


def _points(seen: Observations) -> Verdict:
    return _earned("order.points", seen, "start", "created", "order.create")


def _points_later(seen: Observations) -> Verdict:
    return _earned("order.points_later", seen, "pending", "paid_later", "order.discount_paid")


def _earned(name: str, seen: Observations, before: str, after: str, step: str) -> Verdict:
    exchange, change = seen.get(step), seen.change(before, after)
    if exchange is None or not exchange.accepted:
        return undecidable(name, not_accepted(exchange))
    if change is None:
        return undecidable(name, "The responses have no `pointBalance` to compare.")
    if change > 0:
        return confirmed(name, f"The points rose by {change:f}.")
    return undecidable(
        name,
        "The points did not rise in time. Check that the Platform has an active rule for orders, and repeat with a longer --wait.",
    )


def _points_once(seen: Observations) -> Verdict:
    name, earned = "order.points_once", seen.change("start", "created")
    change = seen.change("again", "before_refund")
    if not earned or change is None:
        return undecidable(name, "The order earned no points.")
    if change > 0:
        return refuted(name, f"Updates of a paid order added {change:f} points. Ask the Platform before you go live.")
    return confirmed(name, "Updates of a paid order, also to paid again, added no points.")


def _points_back(seen: Observations) -> Verdict:
    name, earned = "order.points_back", seen.change("start", "created")
    change = seen.change("before_refund", "refunded")
    if not earned or change is None:
        return undecidable(name, "The order earned no points.")
    if change < 0:
        return confirmed(name, f"The refund took {-change:f} points back.")
    return refuted(name, "The refund took no points back. It is a setting of the account at the Platform. " + NO_CHANGE)


def _second_post(seen: Observations) -> Verdict:
    name, again = "status.alreadyExists", seen.get("order.again")
    if again is None or again.status is None or not _accepted(seen, "order.create"):
        return undecidable(name, not_accepted(again))
    if again.accepted:
        return refuted(name, f"{_second_effect(seen, again)} The relay never sends a second POST blindly. {NO_CHANGE}")
    if again.status == 409 or is_rejected(again, RejectionKind.ALREADY_EXISTS, seen):
        return confirmed(name, f"The second POST is rejected with {again.status}.")
    if not 400 <= again.status < 500 or again.status in (401, 403, 404, 408, 425, 429):
        return undecidable(name, f"{again.described().capitalize()}.")
    text = stable_part(again.message)
    finding = f"The second POST is rejected with {again.status}: {text or 'no message'}."
    if not text:
        return refuted(name, finding, {name: f"{seen.fields[name]},{again.status}"})
    return refuted(name, finding, {"text.alreadyExists": f"{seen.fields['text.alreadyExists']}|{text}"})


def _second_effect(seen: Observations, again: Exchange) -> str:
    first, change = seen.get("order.create"), seen.change("created", "again")
    ids = [_id_of_order(exchange) for exchange in (first, again)]
    if (change or 0) > 0:
        return "The second POST is accepted and earns points again: it creates a second order (duplicate)."
    if None not in ids and ids[0] != ids[1]:
        return "The second POST is accepted and has another `id`: it creates a second order (duplicate)."
    if None not in ids:
        return "The second POST is accepted and has the same `id`: it updates the order (upsert)."
    return "The second POST is accepted and earns no points again: it updates the order, or has no effect (upsert)."


def _second_post_text(seen: Observations) -> Verdict:
    name, again, other = "text.alreadyExists", seen.get("order.again"), _second_post(seen)
    if again is not None and not again.accepted and again.message and other.result != "undecidable":
        if seen.fields.has_text(name, again.message):
            return confirmed(name, "The rejection of the second POST contains the text.")
        if other.result == "refuted":
            return refuted(name, other.finding, other.settings)
        return refuted(name, f"The rejection has another text, and its status is enough. {NO_CHANGE}")
    return undecidable(name, "The second POST was not rejected with a text.")


def _unknown(key: str, step: str, kind: RejectionKind, other: str, subject: str) -> Check:
    """Whether the relay recognises the rejection that `step` shows. `other`: the entry that must not have the same text."""

    def check(seen: Observations) -> Verdict:
        exchange = seen.get(step)
        if exchange is None or exchange.status is None:
            return undecidable(key, not_accepted(exchange))
        if exchange.accepted:
            return refuted(key, f"The Platform accepts {subject}. {NO_CHANGE}")
        if is_rejected(exchange, kind, seen):
            status = "" if exchange.status == 404 else f" The status is {exchange.status} instead of 404. {NO_CHANGE}"
            return confirmed(key, f"Recognised by its text.{status}")
        text = stable_part(exchange.message)
        if not 400 <= exchange.status < 500 or not text or exchange.status in (401, 403, 408, 425, 429):
            return undecidable(key, f"{exchange.described().capitalize()}.")
        finding = f"{subject.capitalize()} is rejected with {exchange.status}: {text}."
        if seen.fields.has_text(other, text) or text == stable_part(message_of(seen, _STEP_OF[other])):
            return refuted(key, f"{finding} The same text has another meaning, so no setting can separate them.")
        return refuted(key, finding, {key: f"{seen.fields[key]}|{text}"})

    return check


_STEP_OF: Final = {"text.customerNotFound": "order.unknown_customer", "text.orderNotFound": "order.missing"}


def _discount_code(seen: Observations) -> Verdict:
    name, exchange = "order.discount_code", seen.get("order.discount")
    if exchange is None or exchange.status is None:
        return undecidable(name, not_accepted(exchange))
    if exchange.accepted:
        return confirmed(name, "Accepted, with a code that does not exist at the Platform.")
    return refuted(
        name, f"An order with a discount code is rejected with {exchange.status}. Its retries end as dead jobs."
    )


def _accepted(seen: Observations, step: str) -> bool:
    exchange = seen.get(step)
    return exchange is not None and isinstance(exchange.meaning(seen.fields), Accepted)


def _id_of_order(exchange: Exchange | None) -> ExactJson:
    """The Platform's id of the order in a response; None when it has none."""
    body = exchange.json if exchange is not None else None
    for path in (("order",), ("data", "order"), ("data",), ()):
        value = exact_json.member(exact_json.at_path(body, path), "id")
        if value is not None:
            return value
    return None


CHECKS: Final[Mapping[str, Check]] = {
    "form.order": form_check("form.order", "order.create", "All fields must be inside of the member `{}`."),
    "form.money": form_check("form.money", "order.create", "The Platform rejects the other form and needs a {}."),
    "order.statuses": _statuses,
    "order.points": _points,
    "order.points_later": _points_later,
    "order.points_once": _points_once,
    "order.points_back": _points_back,
    "order.discount_code": _discount_code,
    "order.refundedAmount": never("order.refundedAmount", "No name is known that could be tested."),
    "status.alreadyExists": _second_post,
    "text.alreadyExists": _second_post_text,
    "text.orderNotFound": _unknown(
        "text.orderNotFound",
        "order.missing",
        RejectionKind.ORDER_NOT_FOUND,
        "text.customerNotFound",
        "the update of an unknown order",
    ),
    "text.customerNotFound": _unknown(
        "text.customerNotFound",
        "order.unknown_customer",
        RejectionKind.CUSTOMER_NOT_FOUND,
        "text.orderNotFound",
        "an order of an unknown customer",
    ),
}
