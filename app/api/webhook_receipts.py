"""What the two webhook endpoints have in common: store the message, count it, log it, and answer with the receipt."""

import time
from uuid import UUID

from starlette.responses import Response

from platform_relay.api.dependencies import Services
from platform_relay.core.logs import log_message
from platform_relay.inbox.messages import Incoming


async def accept_webhook(
    services: Services, message: Incoming, message_id: UUID, *, started: float, size: int, caller: str, kind: str
) -> Response:
    """Store a webhook of `size` bytes that arrived at `started` (`time.perf_counter()`). Returns 200 with its id, or with the
    first id of a repeated webhook. `kind` is the label of the metric: a fixed set, not a topic from the request. Raises the
    inbox's errors."""
    receipt = await services.inbox.accept(message, message_id)
    services.metrics.message(kind, receipt.status)
    log_message(
        receipt.id,
        source=message.source,
        kind=message.kind,
        status=receipt.status,
        size=size,
        jobs=len(message.jobs),
        milliseconds=(time.perf_counter() - started) * 1000,
        caller=caller,
    )
    status = "accepted" if receipt.status == "accepted" else "duplicate"
    return Response(f'{{"id":"{receipt.id}","status":"{status}"}}', media_type="application/json")
