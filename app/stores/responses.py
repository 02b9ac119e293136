"""What a store's HTTP responses mean, as far as it is the same for every store.

    RESPONSES = Responses("Medusa", "MEDUSA__URL")

    answer = RESPONSES.received(await http.call("GET", url))    # raises CallFailed when no response came
    RESPONSES.succeeded(answer, "the list of orders", words(answer))
    value = RESPONSES.document(answer, "the list of orders")

What only one store means by a status is looked at before, in the store's own `api.py`.
"""

from dataclasses import dataclass, replace

from pydantic import JsonValue

from platform_relay.core.http import Answer, Failure, failure_of
from platform_relay.core.outcomes import Blocked, Reject, Unknown
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.inbox.messages import Kind
from platform_relay.stores.failing import CallFailed
from platform_relay.stores.native import unreadable_entity

MAY_PASS = (408, 425, 429)
"""The statuses below 500 that ask for another attempt."""


@dataclass(frozen=True, slots=True)
class Responses:
    """The responses of one store: `destination` is its display name, `address_setting` the variable with its address."""

    destination: str
    address_setting: str

    def reason(self, code: ReasonCode, answer: Answer | None = None, /, **facts: JsonValue) -> Reason:
        """A reason about this store, with the status of the answer."""
        status = answer.status if answer else None
        return because(code, **{"destination": self.destination, "status": status, **facts})

    def received(self, answer: Answer | Failure) -> Answer:
        """The answer of a call. Raises CallFailed when no complete one came."""
        if isinstance(answer, Answer):
            return answer
        raise CallFailed(self.named(answer))

    def failure(self, answer: Answer, request: str, response: str = "", *, wrote: bool = False) -> Failure | None:
        """What a status means; None for 2xx. `response` are the store's own words. With `wrote`, a 5xx is Unknown:
        the request may have been applied."""
        match answer.status:
            case 401 | 403:
                return Blocked(self.reason(ReasonCode.KEY_REJECTED, answer, response=response), answer.evidence())
            case 404:
                facts = {"setting": self.address_setting, "response": response}
                return Blocked(self.reason(ReasonCode.WRONG_ADDRESS, answer, **facts), answer.evidence())
            case status if status >= 500 and wrote:
                facts = {"request": request, "response": response}
                return Unknown(self.reason(ReasonCode.SERVER_ERROR, answer, **facts), answer.evidence())
            case status if 400 <= status < 500 and status not in MAY_PASS:
                return self.rejected(request, response, answer)
        failure = failure_of(answer, request=request)
        return failure and self.named(failure, response=response)

    def succeeded(self, answer: Answer, request: str, response: str = "", *, wrote: bool = False) -> None:
        """Raises CallFailed for every status but 2xx."""
        if failure := self.failure(answer, request, response, wrote=wrote):
            raise CallFailed(failure)

    def document(self, answer: Answer, request: str) -> JsonValue:
        """The JSON of an answer. Raises CallFailed when there is none."""
        value = answer.json(request)
        if isinstance(value, Unknown):
            raise CallFailed(self.named(value))
        return value

    def rejected(self, request: str, response: str, answer: Answer) -> Reject:
        """The store does not accept the request as it is."""
        reason = self.reason(ReasonCode.REJECTED_BY_DESTINATION, answer, request=request, response=response)
        return Reject(reason, answer.evidence())

    def unreadable(self, request: str, problem: str, answer: Answer | None = None) -> CallFailed:
        """The response to the request is not what this API answers."""
        reason = self.reason(ReasonCode.RESPONSE_UNREADABLE, answer, request=request, problem=problem)
        return CallFailed(Unknown(reason, answer.evidence()) if answer else Unknown(reason))

    def unreadable_entity(self, kind: Kind, entity_id: str) -> CallFailed:
        """The store has the entity, and it cannot be translated."""
        return CallFailed(Reject(unreadable_entity(self.destination, kind, entity_id)))

    def named(self, failure: Failure, **facts: JsonValue) -> Failure:
        """The failure, with the name of the store and further facts."""
        return replace(failure, reason=failure.reason.also(destination=self.destination, **facts))
