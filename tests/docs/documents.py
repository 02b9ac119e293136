"""The OpenAPI document as it is served; no database is asked for it."""

from typing import Any  # OpenAPI documents are free-form JSON

import httpx
from prometheus_client import CollectorRegistry

from platform_relay import wiring
from platform_relay.core.compute import ComputeProcess
from platform_relay.core.database import PUBLIC, create_engine
from platform_relay.core.metrics import Metrics
from platform_relay.core.work import Work
from platform_relay.inbox.inbox import Inbox
from platform_relay.jobs.actions import OperatorActions
from platform_relay.jobs.failover import Failovers
from platform_relay.main import create_app
from platform_relay.settings import Settings
from platform_relay.trial.mode import OperatingMode


async def openapi_document() -> dict[str, Any]:
    engine = create_engine("postgresql://nobody@127.0.0.1:1/nowhere", application_name="docs")
    services = wiring.Services(
        settings=Settings(_env_file=None),
        engine=engine,
        mode=OperatingMode(engine, "live"),
        failovers=Failovers("", PUBLIC, synchronous=False),
        guards={},
        inbox=Inbox(engine, on_commit=lambda _: None),
        actions=OperatorActions(engine),
        compute=ComputeProcess(),
        worker_compute=ComputeProcess(),
        import_compute=ComputeProcess(),
        metrics=Metrics(CollectorRegistry()),
        work=Work(),
        listen_url="",
        on_work=[],
    )
    transport = httpx.ASGITransport(create_app(services))
    async with httpx.AsyncClient(transport=transport, base_url="http://relay.test") as client:
        found: dict[str, Any] = (await client.get("/openapi.json")).json()
    return found
