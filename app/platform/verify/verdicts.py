"""The verdict on each assumption, from what the calls showed. Pure.

confirmed: the Platform behaves as assumed. refuted: it does not, and `settings` or `variable` changes the relay if that is
necessary. undecidable: the calls do not show it.
"""

from collections.abc import Mapping
from typing import Final

from platform_relay.platform.verify import entity_checks, launcher_checks, order_checks, protocol_checks
from platform_relay.platform.verify.assumptions import CONTRACT, NULLS, WEBHOOK_ONLY
from platform_relay.platform.verify.name_verdicts import name_verdict, null_verdict
from platform_relay.platform.verify.observations import Observations
from platform_relay.platform.verify.verdict import Check, Verdict, undecidable

CHECKS: Final[Mapping[str, Check]] = {
    **entity_checks.CHECKS,
    **order_checks.CHECKS,
    **protocol_checks.CHECKS,
    **launcher_checks.CHECKS,
}
"""The check of each assumption that is not about the name of a field."""
_WEBHOOK_ONLY: Final = frozenset(item.id for item in WEBHOOK_ONLY)
_NULLS: Final = frozenset(item.id for item in NULLS)


def verdicts(seen: Observations) -> tuple[Verdict, ...]:
    """One verdict for each assumption, in the order of the contract."""
    return tuple(_verdict(item.id, seen) for item in CONTRACT)


def _verdict(name: str, seen: Observations) -> Verdict:
    if name in CHECKS:
        return CHECKS[name](seen)
    if name in _WEBHOOK_ONLY:
        return undecidable(name, "Only a webhook of the Platform shows it.")
    return null_verdict(name, seen) if name in _NULLS else name_verdict(name, seen)
