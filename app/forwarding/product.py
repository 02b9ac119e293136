"""Forwards a product: PUT /v1/products/{id}, then its variants if the event has them. The newest version wins."""

from pydantic import ValidationError

from platform_relay.core.outcomes import Outcome, Retry
from platform_relay.inbox.events import ProductEvent
from platform_relay.platform import translation
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.outcomes import UNCHANGED, outcome_of, unreadable_event
from platform_relay.platform.responses import Accepted, Rejected, RejectionKind
from platform_relay.queue.jobs import Job


class ForwardProduct:
    """Both calls are idempotent. A job that stopped between them makes both again."""

    def __init__(self, platform: PlatformClient) -> None:
        self._platform = platform

    async def __call__(self, job: Job) -> Outcome:
        try:
            event = ProductEvent.parse(job.body)
        except ValidationError as error:
            return unreadable_event(error)
        body = translation.product(event, self._platform.fields)
        variants = translation.variants(event, self._platform.fields)
        digest = translation.digest(body, variants)
        if job.exists_remotely and job.delivered_digest == digest:
            return UNCHANGED
        response = await self._platform.put_product(event.id, body)
        if isinstance(response, Accepted) and variants is not None:
            response = await self._platform.put_variants(event.id, variants)
            if isinstance(response, Rejected) and response.kind is RejectionKind.NOT_FOUND:
                return Retry(response.contradicts("product", event.id), evidence=response.evidence)
        return outcome_of(response, digest)
