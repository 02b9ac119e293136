"""A product -> PUT /v1/products/{id}, then its variants when the event tells them. The newest version wins."""

from collections.abc import Mapping
from typing import Protocol

from pydantic import JsonValue, ValidationError

from app.engine.jobs import Job
from app.handlers.verdicts import settled, unreadable
from app.messages import ProductEvent
from app.outcomes import Outcome, Retry, Skip
from app.platform import translate
from app.platform.answers import Accepted, Meaning, Refused, Verdict
from app.platform.fields import Fields


class PutsProducts(Protocol):
    @property
    def fields(self) -> Fields: ...
    async def put_product(self, product_id: str, body: Mapping[str, JsonValue]) -> Verdict: ...
    async def put_variants(self, product_id: str, body: Mapping[str, JsonValue]) -> Verdict: ...


class RelayProduct:
    """Both calls are idempotent, so a job that stopped between them does both again."""

    def __init__(self, platform: PutsProducts) -> None:
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
            return Skip("unchanged: the Platform was last given the same")
        verdict = await self._platform.put_product(event.id, body)
        if isinstance(verdict, Accepted) and variants is not None:
            verdict = await self._platform.put_variants(event.id, variants)
            if isinstance(verdict, Refused) and verdict.meaning is Meaning.NOT_FOUND:
                return Retry(f"the product was put, and for its variants the Platform says: {verdict.text}")
        return settled(verdict, digest)
