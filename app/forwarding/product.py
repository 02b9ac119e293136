"""A product -> PUT /v1/products/{id}, then its variants when the event has them. The newest version wins."""

from pydantic import ValidationError

from platform_relay.core.outcomes import Outcome, Retry
from platform_relay.inbox.messages import ProductEvent
from platform_relay.platform import translate
from platform_relay.platform.answers import Accepted, Meaning, Refused
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.outcomes import UNCHANGED, settled, unreadable
from platform_relay.queue.jobs import Job


class ForwardProduct:
    """Both calls are idempotent, so a job that stopped between them does both again."""

    def __init__(self, platform: PlatformClient) -> None:
        self._platform = platform

    async def __call__(self, job: Job) -> Outcome:
        try:
            event = ProductEvent.parse(job.body)
        except ValidationError as error:
            return unreadable(error)
        body = translate.product(event, self._platform.fields)
        variants = translate.variants(event, self._platform.fields)
        digest = translate.digest(body, variants)
        if job.known and job.delivered == digest:
            return UNCHANGED
        verdict = await self._platform.put_product(event.id, body)
        if isinstance(verdict, Accepted) and variants is not None:
            verdict = await self._platform.put_variants(event.id, variants)
            if isinstance(verdict, Refused) and verdict.meaning is Meaning.NOT_FOUND:
                return Retry(verdict.contradicts("product", event.id), evidence=verdict.evidence)
        return settled(verdict, digest)
