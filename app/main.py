"""The web application: `create_app(services)` builds it from the endpoints of the API and the console."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from platform_relay import console
from platform_relay.alerts.refused_webhooks import RefusedWebhooks
from platform_relay.api import (
    batch,
    coupons,
    destinations,
    documentation,
    events,
    explain,
    health,
    imports,
    jobs,
    platform_webhooks,
    privacy,
    problems,
    reconciliations,
    reward_rules,
    sign_in_links,
    store_webhooks,
)
from platform_relay.api.authentication import Authenticator
from platform_relay.api.dependencies import Services
from platform_relay.api.middleware import RequestMiddleware
from platform_relay.inbox.events import EVENTS

NO_FRAMEWORK_TELEMETRY: Final[TelemetryConfig] = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}


def create_app(services: Services) -> FastAPI:
    """The ASGI application. The caller owns `services`, and closes them."""
    authenticator = Authenticator(services)
    app = FastAPI(
        title="Platform Relay",
        version=_version(),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry=NO_FRAMEWORK_TELEMETRY,
    )
    app.state.services = services
    app.state.authenticator = authenticator
    app.state.gauges = health.queue_gauges(services)
    app.state.import_tasks = set()
    for router in (
        events.routes(services, authenticator),  # the hot path is matched first
        batch.routes(services, authenticator),
        events.router,
        platform_webhooks.routes(services),
        store_webhooks.routes(services),
        jobs.router,
        destinations.router,
        reward_rules.router,
        coupons.router,
        explain.router,
        imports.router,
        reconciliations.router,
        privacy.router,
        sign_in_links.router,
        health.router,
        console.routes(services, authenticator),
    ):
        # `include_router` would match every request twice, which is a quarter of the time for accepting an event.
        app.router.routes.extend(router.routes)
    documentation.install(app, list(EVENTS.values()))
    problems.install(app, services.metrics, RefusedWebhooks(services.engine, _webhook_sources(services)))
    app.add_middleware(RequestMiddleware, services=services)
    return app


def _webhook_sources(services: Services) -> dict[str, str]:
    """The source of the webhooks at each path that is in use."""
    sources = {"/v1/webhooks/platform/": "platform"} if services.settings.platform.webhook_secret else {}
    if (adapter := services.settings.store.adapter) is not None:
        sources[f"/v1/store-webhooks/{adapter}"] = adapter
    return sources


def _version() -> str:
    try:
        return version("platform-relay")
    except PackageNotFoundError:
        return "0"
