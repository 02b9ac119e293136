"""The web process: `create_app(services)` puts the endpoints together."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from platform_relay import console
from platform_relay.api import (
    batch,
    coupon_actions,
    coupons,
    customers,
    destinations,
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
from platform_relay.api.authentication import Keys
from platform_relay.api.dependencies import Services
from platform_relay.api.middleware import Guard
from platform_relay.inbox.messages import EVENTS

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
        destinations.routes(services, keys),
        reward_rules.routes(services, keys),
        coupon_actions.routes(services, keys),  # before `coupons`, whose /{code} would take /ledger
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
            *coupon_actions.BODIES,
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
