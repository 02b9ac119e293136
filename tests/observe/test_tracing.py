"""One trace over a message's whole life, from the real program to a collector; without an endpoint, nothing at all."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

import httpx
import pytest
import uvicorn
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from platform_relay.core import tracing
from simulators.process import run
from simulators.scene import relay_process
from tests.helpers import eventually, free_port

KEY: Final = "store-key-of-the-traced-relay"
CALLER: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
EMAIL: Final = "ada@example.com"


@asynccontextmanager
async def collecting() -> AsyncIterator[tuple[str, list[Span]]]:
    """A collector's address, and what it was told."""
    spans: list[Span] = []

    async def take(request: Request) -> Response:
        result = ExportTraceServiceRequest.FromString(await request.body())
        spans.extend(span for each in result.resource_spans for scope in each.scope_spans for span in scope.spans)
        return Response(media_type="application/x-protobuf")

    port = free_port()
    app = Starlette(routes=[Route("/v1/traces", take, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, loop="none"))
    serving = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: server.started)
        yield f"http://127.0.0.1:{port}", spans
    finally:
        server.should_exit = True
        await serving


async def test_door_attempts_and_calls_are_one_trace(database_url: str) -> None:
    async with collecting() as (endpoint, spans):
        with run("platform", "--set", "record_headers=true") as platform:
            platform.script(path="/v1/customers", method="PUT", status=503, times=1)
            settings = {
                "DATABASE_URL": database_url, "STORE_KEY": KEY, "OTLP_ENDPOINT": endpoint, "RETRY__INITIAL_DELAY": "0.1",
                "PLATFORM__URL": platform.url, "PLATFORM__API_KEY": "sim-platform-key",
                "OTEL_BSP_SCHEDULE_DELAY": "100",
            }  # fmt: skip
            with relay_process(settings) as (_, url, log):
                headers = {"authorization": f"Bearer {KEY}", "traceparent": CALLER}
                body = {"id": "42", "email": EMAIL, "updatedAt": "2026-05-11T16:20:00Z"}

                async def report() -> dict[str, str]:
                    async with httpx.AsyncClient(base_url=url, trust_env=False) as store:
                        answer = await store.post("/v1/events/customers", json=body, headers=headers)
                    result: dict[str, str] = answer.json()
                    return result

                message_id = UUID((await report())["id"])
                await eventually(lambda: len([span for span in spans if span.name == "PUT"]) == 2, 30)
                assert (await report())["status"] == "duplicate"
                await eventually(lambda: len([span for span in spans if span.name.startswith("receive")]) == 2, 30)
            log.unlink()
            sent = [entry["headers"]["traceparent"] for entry in platform.ledger(kind="customer.put")]
    assert {span.trace_id for span in spans} == {message_id.bytes}, "one trace, and its id is the message's"
    webhook_url, again = (span for span in spans if span.name == "receive customers")
    tries = [span for span in spans if span.name == "forward_customer"]
    calls = [span for span in spans if span.name == "PUT"]
    assert not webhook_url.parent_span_id
    assert {span.parent_span_id for span in (*tries, again)} == {webhook_url.span_id}
    assert [call.parent_span_id for call in calls] == [each.span_id for each in tries]
    assert [span.status.code == Status.STATUS_CODE_ERROR for span in (*tries, *calls)] == [True, False, True, False]
    assert [link.trace_id.hex() for link in webhook_url.links] == [CALLER.split("-")[1]]
    assert sent == [f"00-{call.trace_id.hex()}-{call.span_id.hex()}-01" for call in calls]
    result = str(spans)
    assert EMAIL not in result
    assert KEY not in result


def test_off_it_is_not_even_imported() -> None:
    forbidden = "('platform_relay.core.opent', 'opentelemetry.sdk')"
    seen = f"import sys, platform_relay.serve; print([name for name in sys.modules if name.startswith({forbidden})])"
    result = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"

    async def handler(job: tracing.TracedJob) -> None: ...

    assert tracing.traced(handler) is handler
    tracing.start(None, "test")
    assert tracing.call("PUT", "host", {}) is tracing.call("GET", "other", {}), "one object, made once"


def test_without_the_extra_it_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "platform_relay.core.opentelemetry", raising=False)
    with pytest.raises(ValueError, match=r"platform-relay\[otel\]"):
        tracing.start("http://127.0.0.1:4318", "test")
