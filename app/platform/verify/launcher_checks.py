"""The checks of the Launcher. Pure."""

from collections.abc import Mapping
from typing import Final

from platform_relay.core import exact_json
from platform_relay.core.exact_json import ExactJson
from platform_relay.platform.verify.observations import Observations
from platform_relay.platform.verify.verdict import (
    Check,
    Verdict,
    confirmed,
    never,
    not_accepted,
    refuted,
    undecidable,
)


def _rules(seen: Observations) -> Verdict:
    name = "launcher.rules"
    if not seen.has_launcher:
        return undecidable(name, "PLATFORM__SHOP_KEY is not set.")
    rules = _rule_rows(seen)
    if rules is None:
        return undecidable(name, not_accepted(seen.get("launcher.rules")))
    return confirmed(name, f"{len(rules)} rules.")


def _digest(seen: Observations) -> Verdict:
    name, right, wrong = "launcher.digest", seen.get("launcher.rewards"), seen.get("launcher.digest")
    if right is None or wrong is None:
        return undecidable(name, "PLATFORM__SHOP_KEY is not set.")
    if right.accepted and wrong.status is not None and not wrong.accepted:
        return confirmed(name, f"The right digest is accepted, a wrong one is refused with {wrong.status}.")
    if right.accepted and wrong.accepted:
        return refuted(name, "A wrong digest is accepted too. The list still shows whether a redemption is genuine.")
    return refuted(name, f"The digest is refused with {right.status}. Check PLATFORM__SHOP_KEY and PLATFORM__API_KEY.")


def _items(seen: Observations) -> Verdict:
    key, exchange = "launcher.items", seen.get("launcher.rewards")
    if exchange is None or not exchange.accepted:
        return undecidable(key, not_accepted(exchange))
    body = exchange.json
    if isinstance(exact_json.member(body, seen.fields[key]), list):
        return confirmed(key, "The response has the list.")
    lists = [name for name, value in body.items() if isinstance(value, list)] if isinstance(body, dict) else []
    if len(lists) == 1:
        return refuted(key, f"The list is in the member `{lists[0]}`.", {key: lists[0]})
    return undecidable(key, "The response has no list, or several.")


def _rule_member(key: str, holder: str) -> Check:
    def check(seen: Observations) -> Verdict:
        rows: list[ExactJson] = []
        for rule in _rule_rows(seen) or []:
            value = exact_json.member(rule, holder)
            rows += value if isinstance(value, list) else [value]
        objects = [row for row in rows if isinstance(row, dict)]
        if not objects:
            return undecidable(key, f"No rule has `{holder}`.")
        if any(exact_json.text(row.get(seen.fields[key])) for row in objects):
            return confirmed(key, f"The `{holder}` of a rule has the id as `{seen.fields[key]}`.")
        return undecidable(
            key, f"The `{holder}` of the rules has other members: {', '.join(sorted(objects[0]))[:200]}."
        )

    return check


def _increments(seen: Observations) -> Verdict:
    key = "rule.increments"
    kinds = {str(exact_json.member(rule, "redeemType")) for rule in _rule_rows(seen) or []}
    if seen.fields[key] in kinds:
        return confirmed(key, "A rule has this redeemType.")
    return undecidable(key, f"No rule has it. The rules have: {', '.join(sorted(kinds)) or 'none'}."[:300])


def _rule_rows(seen: Observations) -> list[ExactJson] | None:
    exchange = seen.get("launcher.rules")
    rows = exact_json.member(exchange.json, "rules") if exchange is not None and exchange.accepted else None
    return rows if isinstance(rows, list) else None


CHECKS: Final[Mapping[str, Check]] = {
    "launcher.rules": _rules,
    "launcher.digest": _digest,
    "launcher.items": _items,
    "launcher.nextToken": never("launcher.nextToken", "The test customer has no second page of rewards."),
    "rule.increments": _increments,
    "rule.productId": _rule_member("rule.productId", "product"),
    "ruleVariant.id": _rule_member("ruleVariant.id", "variants"),
}
