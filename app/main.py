"""The web process: `create_app(services)` puts the doors together."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from app import console
from app.api import (
    batch,
    channels,
    coupon_desk,
    coupons,
    customers,
    documentation,
    events,
    explain,
    health,
    imports,
    jobs,
    operator,
    problems,
    reconciliations,
    reward_rules,
    store_webhooks,
    webhooks,
)
from app.api.authentication import Keys
from app.api.guard import Guard
from app.api.services import Services
from app.messages import EVENTS

NO_FRAMEWORK_TELEMETRY: Final[TelemetryConfig] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


def create_app(services: Services) -> FastAPI:
    """The ASGI program. Opens and closes nothing: `services` belong to the caller."""
    keys = Keys(services)
    app = FastAPI(
        title="Platform Relay",
        version=_version(),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry=NO_FRAMEWORK_TELEMETRY,
    )
    for door in (
        events.routes(services, keys),  # first, since it is used most
        batch.routes(services, keys),
        webhooks.routes(services),
        store_webhooks.routes(services),
        operator.routes(services, keys),
        jobs.routes(services, keys),
        channels.routes(services, keys),
        reward_rules.routes(services, keys),
        coupon_desk.routes(services, keys),  # before `coupons`, whose /{code} would take /ledger
        coupons.routes(services, keys),
        explain.routes(services, keys),
        imports.routes(services, keys),
        reconciliations.routes(services, keys),
        customers.routes(services, keys),
        health.routes(services),
        console.routes(services, keys),
    ):
        # Flat: `include_router` would match every request twice, a quarter of what accepting an event costs.
        app.router.routes.extend(door.routes)
    documentation.install(
        app,
        (
            *EVENTS.values(),
            *operator.BODIES,
            *reward_rules.BODIES,
            *coupon_desk.BODIES,
            *reconciliations.BODIES,
            *customers.BODIES,
        ),
    )
    problems.install(app)
    app.add_middleware(Guard, metrics=services.metrics)
    return app


def _version() -> str:
    try:
        return version("platform-relay")
    except PackageNotFoundError:
        return "0"
