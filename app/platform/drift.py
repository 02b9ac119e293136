"""Compares the Platform's responses to PUT customer with what was sent, in daily operation. Pure.

Each comparison gives signals: a subject with a reason against it, or with None if it is as it should be. Only a subject with the
same signal CONSISTENT times in a row counts: one customer can be an exception. All tables have an upper limit.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from platform_relay.core import exact_json
from platform_relay.core.exact_json import ExactJson
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.platform.echo import same_value
from platform_relay.platform.fields import ASSUMPTIONS, NO_FIELDS, Fields

CONSISTENT: Final = 20
"""So many comparisons in a row with the same result."""
MOST_SUBJECTS: Final = 100
MOST_MEMBERS: Final = 200
"""How many subjects and members of responses are remembered."""
MOST_NAMED: Final = 10
MEMBERS: Final = "response.members"
"""The subject of the alert about new members of the customer."""
CUSTOMER_KEYS: Final = tuple(key for key in ASSUMPTIONS if key.startswith("customer."))
DOCUMENTED: Final[Mapping[str, str]] = {"id": "text", "externalId": "text", "email": "text", "pointBalance": "number"}
"""Members of a customer whose type the Platform's pages state, so that a change is noticed after a restart, too."""
RARE: Final = frozenset(
    {"firstName", "lastName", "name", "phone", "tags", "birthdayMonth", "birthdayDay", "externalCreatedAt"}
    | {"customerType", "referralLink", "referralsCompleted", "createdAt", "updatedAt", "lifetimeStampsEarned"}
    | {"currentLoyaltyTierProgress", "currentLoyaltyTierId"}
)
"""Documented members that a response leaves out while they are not set, so that they are never new."""
_NAME: Final = re.compile(r"[A-Za-z_][\w.-]{0,63}")
"""A member whose name has another form may be a value, so it is not named."""

Signals = Mapping[str, Reason | None]


@dataclass(frozen=True, slots=True)
class Changes:
    """The alerts to raise, by their subject, and the subjects whose alerts are to be resolved."""

    raised: Mapping[str, Reason]
    resolved: tuple[str, ...]


@dataclass(slots=True)
class Drift:
    """What was compared so far. `counts`: positive for signals against a subject, negative for those without a reason."""

    fields: Fields
    counts: dict[str, int] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=lambda: dict(DOCUMENTED))
    compared: int = 0

    def compare(self, sent: ExactJson, response: ExactJson) -> Changes:
        """Compare a request body with the response to it."""
        changes = self._note(dict(self._signals(sent, response)))
        self.compared += 1
        if MEMBERS in changes.raised:
            self.compared = 0  # learn the members again, so that they are new only once
        return changes

    def not_raised(self, subject: str) -> None:
        """The alert could not be stored: the next signal raises it again."""
        self.counts[subject] = CONSISTENT - 1

    def _signals(self, sent: ExactJson, response: ExactJson) -> Iterator[tuple[str, Reason | None]]:
        customer = exact_json.at_path(response, self.fields.path("response.customer"))
        if not isinstance(customer, dict):
            problem = f"it has no object at {self.fields['response.customer']}"
            yield "response.customer", because(ReasonCode.PLATFORM_RESPONSE_CHANGED, problem=problem)
            return
        yield "response.customer", None
        member = self.fields["form.customer"]
        body = sent if member == NO_FIELDS else exact_json.member(sent, member)
        if isinstance(body, dict):
            yield from self._field_signals(body, customer)
        yield from self._shape_signals(customer)

    def _field_signals(
        self, body: Mapping[str, ExactJson], customer: Mapping[str, ExactJson]
    ) -> Iterator[tuple[str, Reason | None]]:
        for key in CUSTOMER_KEYS:
            name = self.fields[key]
            value = body.get(name)
            if value is None or value in ("", []):
                continue
            returned = customer.get(name)
            if same_value(value, returned):
                yield key, None
            else:
                effect = "ignored" if returned is None or returned in ("", []) else "changed"
                yield key, because(ReasonCode.PLATFORM_FIELD_DIFFERS, entry=key, **{effect: name})

    def _shape_signals(self, customer: Mapping[str, ExactJson]) -> Iterator[tuple[str, Reason | None]]:
        names: list[str] = []
        for name, value in customer.items():
            if value is None or not _NAME.fullmatch(name):
                continue
            subject, kind, known = f"response.customer.{name}", _type(value), self.types.get(name)
            if known == kind:
                if subject in self.counts:
                    yield subject, None
            elif known is not None:
                problem = f"{name} is {kind} instead of {known}"
                yield subject, because(ReasonCode.PLATFORM_RESPONSE_CHANGED, problem=problem)
            elif self.compared < CONSISTENT or name in RARE or len(self.types) >= MOST_MEMBERS:
                if len(self.types) < MOST_MEMBERS:
                    self.types[name] = kind
            else:
                names.append(name)
        if names:
            problem = f"it has new members: {', '.join(sorted(names)[:MOST_NAMED])}"
            yield MEMBERS, because(ReasonCode.PLATFORM_RESPONSE_CHANGED, problem=problem)
        elif MEMBERS in self.counts:
            yield MEMBERS, None

    def _note(self, signals: Signals) -> Changes:
        raised: dict[str, Reason] = {}
        resolved: list[str] = []
        for subject, reason in signals.items():
            count = self.counts.get(subject, 0)
            if subject not in self.counts and len(self.counts) >= MOST_SUBJECTS:
                continue
            count = max(count, 0) + 1 if reason else min(count, 0) - 1
            self.counts[subject] = max(-CONSISTENT - 1, min(CONSISTENT + 1, count))
            if reason and count == CONSISTENT:
                raised[subject] = reason
            elif count == -CONSISTENT:
                resolved.append(subject)
        return Changes(raised, tuple(resolved))


def _type(value: ExactJson) -> str:
    match value:
        case bool():
            return "boolean"
        case str():
            return "text"
        case list():
            return "list"
        case dict():
            return "object"
        case _:
            return "number"
