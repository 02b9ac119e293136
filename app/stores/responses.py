"""The meaning of HTTP responses that is the same for every store.

    RESPONSES = Responses("Medusa", "MEDUSA__URL", "MEDUSA__CA_FILE")

    answer = RESPONSES.require(await http.call("GET", url))    # raises CallFailed if no response came
    RESPONSES.raise_for_status(answer, "the list of orders", error_text(answer))
    value = RESPONSES.json(answer, "the list of orders")

A status with a special meaning in one store is handled before, in that store's `api.py`.
"""

from dataclasses import dataclass, replace
from typing import Final

from pydantic import JsonValue

from platform_relay.core.http import Failure, HttpResponse, failure_of, firewall_refusal
from platform_relay.core.outcomes import Blocked, Reject, Unknown
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.core.setting_names import SettingNames
from platform_relay.inbox.events import EventKind
from platform_relay.stores.failures import CallFailed
from platform_relay.stores.native import unreadable_entity

BODY_CAP: Final = 8 << 20
"""The largest response of a store, in bytes. A page of a list that is larger is requested again with fewer rows."""
RETRYABLE: Final = (408, 425, 429)
"""The statuses below 500 that are retried."""
NAMELESS: Final = (403, 404)
"""The statuses that can concern one entity alone, unless the store's error names the key, a permission or the address."""


@dataclass(frozen=True, slots=True)
class Responses:
    """Reads the responses of one store. `destination` is its display name, `address_setting` the variable with its URL,
    `ca_setting` the one with the file of its certificate authority, if it has one."""

    destination: str
    address_setting: str
    ca_setting: str | None = None

    def reason(self, code: ReasonCode, answer: HttpResponse | None = None, /, **facts: JsonValue) -> Reason:
        """A reason about this store, with the status of the response."""
        status = answer.status if answer else None
        return because(code, **{"destination": self.destination, "status": status, **facts})

    def require(self, answer: HttpResponse | Failure) -> HttpResponse:
        """Return the response of a call. Raises CallFailed if no complete response came, or if a firewall sent it."""
        if not isinstance(answer, HttpResponse):
            raise CallFailed(self.with_destination(answer))
        if refused := firewall_refusal(answer):
            raise CallFailed(self.with_destination(refused))
        return answer

    def failure(self, answer: HttpResponse, request: str, response: str = "", *, wrote: bool = False) -> Failure | None:
        """The failure for a status; None for 2xx. `response` is the error text of the store. With `wrote`, a 5xx is Unknown,
        because the store may have applied the request."""
        match answer.status:
            case 401 | 403:
                reason = self.reason(ReasonCode.KEY_REJECTED, answer, response=response)
                return Blocked(reason, answer.evidence(), certain=answer.status not in NAMELESS)
            case 404:
                facts = {"setting": self.address_setting, "response": response}
                reason = self.reason(ReasonCode.WRONG_ADDRESS, answer, **facts)
                return Blocked(reason, answer.evidence(), certain=False)
            case status if status >= 500 and wrote:
                facts = {"request": request, "response": response}
                return Unknown(self.reason(ReasonCode.SERVER_ERROR, answer, **facts), answer.evidence())
            case status if 400 <= status < 500 and status not in RETRYABLE:
                return self.rejected(request, response, answer)
        failure = failure_of(answer, request=request)
        return failure and self.with_destination(failure, response=response)

    def raise_for_status(self, answer: HttpResponse, request: str, response: str = "", *, wrote: bool = False) -> None:
        """Raise CallFailed for every status except 2xx."""
        if failure := self.failure(answer, request, response, wrote=wrote):
            raise CallFailed(failure)

    def json(self, answer: HttpResponse, request: str) -> JsonValue:
        """Return the JSON body of a response. Raises CallFailed if the body is not JSON."""
        value = answer.json(request)
        if isinstance(value, Unknown):
            raise CallFailed(self.with_destination(value))
        return value

    def rejected(self, request: str, response: str, answer: HttpResponse) -> Reject:
        """Reject because the store does not accept the request."""
        reason = self.reason(ReasonCode.REJECTED_BY_DESTINATION, answer, request=request, response=response)
        return Reject(reason, answer.evidence())

    def unreadable(self, request: str, problem: str, answer: HttpResponse | None = None) -> CallFailed:
        """To raise: the response does not have the structure of this API."""
        reason = self.reason(ReasonCode.RESPONSE_UNREADABLE, answer, request=request, problem=problem)
        return CallFailed(Unknown(reason, answer.evidence()) if answer else Unknown(reason))

    def unreadable_entity(self, kind: EventKind, entity_id: str) -> CallFailed:
        """To raise: the store has the entity, but it cannot be translated into an event."""
        return CallFailed(Reject(unreadable_entity(self.destination, kind, entity_id)))

    def with_destination(self, failure: Failure, **facts: JsonValue) -> Failure:
        """The failure with the name of the store, the setting that corrects it, and further facts."""
        reason = SettingNames(self.address_setting, self.ca_setting).named(failure.reason)
        return replace(failure, reason=reason.also(destination=self.destination, **facts))
