"""What the calls of a verification showed. Values, and how to read them; no calls."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, auto

from platform_relay.core import exact_json
from platform_relay.core.exact_json import ExactJson
from platform_relay.core.http import Failure, HttpResponse
from platform_relay.core.reasons import Reason
from platform_relay.platform.fields import Fields
from platform_relay.platform.responses import PlatformResponse, error_message, read_response
from platform_relay.platform.verify.calls import Call


@dataclass(frozen=True, slots=True)
class Exchange:
    """A call and its response, with the duration in seconds."""

    call: Call
    answer: HttpResponse | Failure
    seconds: float

    @property
    def status(self) -> int | None:
        return self.answer.status if isinstance(self.answer, HttpResponse) else self.answer.evidence.status

    @property
    def accepted(self) -> bool:
        """A 2xx, whatever its body is."""
        return isinstance(self.answer, HttpResponse) and 200 <= self.answer.status < 300

    @property
    def json(self) -> ExactJson:
        """The body; None without a JSON body."""
        if not isinstance(self.answer, HttpResponse):
            return None
        try:
            return self.answer.parsed()
        except ValueError:
            return None

    @property
    def headers(self) -> Mapping[str, str]:
        return self.answer.headers if isinstance(self.answer, HttpResponse) else {}

    @property
    def is_empty(self) -> bool:
        """Whether the response has no body."""
        return isinstance(self.answer, HttpResponse) and not self.answer.body.strip()

    @property
    def message(self) -> str:
        """The Platform's text of an error; empty without one."""
        return error_message(self.answer) if isinstance(self.answer, HttpResponse) else ""

    def meaning(self, fields: Fields) -> PlatformResponse:
        """What the relay would take the response for."""
        if not isinstance(self.answer, HttpResponse):
            return self.answer
        return read_response(self.answer, fields, idempotent=self.call.method in ("PUT", "PATCH"))

    def described(self) -> str:
        """The response in a few words, for a finding."""
        if not isinstance(self.answer, HttpResponse):
            return self.answer.reason.text.rstrip(".")
        return f"the Platform answered {self.answer.status}"


class NameState(Enum):
    """What is known about the name of a field."""

    CONFIRMED = auto()
    """The value was sent under the assumed name and came back."""
    OTHER_NAME = auto()
    """The value came back only when it was sent under another name."""
    NOT_SHOWN = auto()
    """Accepted, and no response contains the value."""
    REJECTED = auto()
    """The Platform rejects the field, under every name that was tried."""


@dataclass(frozen=True, slots=True)
class NameFinding:
    """`name`: the other name to send, or the name under which the value came back."""

    state: NameState
    name: str = ""


@dataclass(slots=True)
class Observations:
    """`overrides`: the entries of PLATFORM__FIELDS that were needed. `stopped`: why the verification ended early."""

    base: Mapping[str, str]
    exchanges: dict[str, Exchange] = field(default_factory=dict)
    every: list[Exchange] = field(default_factory=list)
    names: dict[str, NameFinding] = field(default_factory=dict)
    overrides: dict[str, str] = field(default_factory=dict)
    balances: dict[str, Decimal | None] = field(default_factory=dict)
    has_launcher: bool = True
    http2: bool | None = None
    time_limit: float = 10.0
    stopped: Reason | None = None

    @property
    def fields(self) -> Fields:
        """The table with everything that is known by now."""
        return Fields({**self.base, **self.overrides})

    def add(self, exchange: Exchange) -> None:
        self.exchanges[exchange.call.step] = exchange
        self.every.append(exchange)

    def get(self, step: str) -> Exchange | None:
        return self.exchanges.get(step)

    def successes(self) -> Iterator[Exchange]:
        return (exchange for exchange in self.every if exchange.accepted)

    def change(self, before: str, after: str) -> Decimal | None:
        """How many points were added between two readings; None when one is missing."""
        first, second = self.balances.get(before), self.balances.get(after)
        return None if first is None or second is None else second - first


def balance_of(exchange: Exchange, fields: Fields) -> Decimal | None:
    """The points of the customer in a response; None when it does not show them."""
    customer = exact_json.at_path(exchange.json, fields.path("response.customer"))
    return exact_json.number(exact_json.member(customer, "pointBalance"))
