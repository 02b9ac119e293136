"""The verdicts on the names of fields, and on fields that are removed. Pure."""

from typing import Final

from platform_relay.platform.fields import ASSUMPTIONS
from platform_relay.platform.verify.observations import NameState, Observations
from platform_relay.platform.verify.samples import ESSENTIAL
from platform_relay.platform.verify.verdict import Verdict, confirmed, refuted, undecidable

EMPTIED: Final = ("name", "phone", "firstName", "lastName", "tags")
"""The fields of a customer that the relay sends as an empty text or list when the store removes them."""


def null_verdict(key: str, seen: Observations) -> Verdict:
    field_key = key.removeprefix("null.")
    name = field_key.removeprefix("customer.")
    exchange = seen.get("customer.empty")
    if name not in EMPTIED or exchange is None or seen.fields[key] != "empty":
        return undecidable(key, "The relay does not test what the Platform does with a removed field here.")
    if exchange.accepted:
        return confirmed(key, "The Platform accepts the emptied fields of a customer.")
    if exchange.status is not None and 400 <= exchange.status < 500:
        finding = f"The Platform rejects the emptied fields of a customer ({exchange.status}). They can be left out."
        return refuted(key, finding, {key: "omit"})
    return undecidable(key, f"{exchange.described().capitalize()}.")


def name_verdict(key: str, seen: Observations) -> Verdict:
    """The verdict on the name of a field of a request."""
    finding = seen.names.get(key)
    assumed = seen.overrides.get(key, seen.fields[key])
    if finding is None:
        return undecidable(key, "The call that would show it was not accepted, or the field was not sent.")
    match finding.state:
        case NameState.CONFIRMED:
            shown = "" if finding.name == assumed else f" as `{finding.name}`"
            return confirmed(key, f"Sent as `{assumed}`, and it comes back{shown}.")
        case NameState.OTHER_NAME:
            configured = seen.base.get(key, ASSUMPTIONS[key].text)
            text = f"The Platform ignores or rejects `{configured}`. Sent as `{finding.name}`, it comes back."
            return refuted(key, text, {key: finding.name})
        case NameState.REJECTED:
            text = "The Platform rejects the field under every name that was tried."
            step = "Set the name that the Platform's pages or its support state."
            return (
                refuted(key, f"{text} {step}")
                if key in ESSENTIAL
                else refuted(key, f"{text} It is left out.", {key: "-"})
            )
        case NameState.NOT_SHOWN:
            if key in SHOWN_BY_POINTS and (seen.change("start", "created") or 0) > 0:
                return confirmed(
                    key, "No response contains it, but the points of the paid order show that it was read."
                )
            text = "The Platform accepts the field, but no response contains its value: it may ignore the field."
            return undecidable(key, text)


SHOWN_BY_POINTS: Final = frozenset({"order.customerId", "order.financialStatus", "order.totalPrice"})
