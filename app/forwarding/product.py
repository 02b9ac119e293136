"""Forwards a product: PUT /v1/products/{id}, then its variants if the event has them. The newest version wins."""

from dataclasses import replace
from functools import partial

from platform_relay.core.compute import ComputeProcess
from platform_relay.core.outcomes import Outcome, Reject, Retry
from platform_relay.forwarding.prepare import prepare_product
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.outcomes import UNCHANGED, outcome_of
from platform_relay.platform.responses import Accepted, Rejected, RejectionKind
from platform_relay.queue.jobs import Job


class ForwardProduct:
    """Both calls are idempotent. A job that stopped between them makes both again."""

    def __init__(self, platform: PlatformClient, compute: ComputeProcess) -> None:
        self._platform = platform
        self._compute = compute

    async def __call__(self, job: Job) -> Outcome:
        prepare = partial(prepare_product, job.body, self._platform.fields)
        product = await self._compute.run_if_large(len(job.body), prepare)
        if isinstance(product, Reject):
            return product
        if job.exists_remotely and job.delivered_digest == product.digest:
            return UNCHANGED
        response = await self._platform.put_product(product.id, product.body)
        if isinstance(response, Accepted) and product.variants is not None:
            response = await self._platform.put_variants(product.id, product.variants)
            if isinstance(response, Rejected) and response.kind is RejectionKind.NOT_FOUND:
                return Retry(response.contradicts("product", product.id), evidence=response.evidence)
            outcome = outcome_of(response, product.digest)
            return replace(outcome, partly_delivered=True) if isinstance(outcome, Reject) else outcome
        return outcome_of(response, product.digest)
