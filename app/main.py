"""The web application: `create_app(services)` builds it from the endpoints of the API and the console."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, cast  # Any: FastAPI's own options

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.types import ASGIApp

from platform_relay import console
from platform_relay.alerts.refused_webhooks import RefusedWebhooks
from platform_relay.api import (
    batch,
    coupons,
    destinations,
    documentation,
    event_list,
    events,
    explain,
    health,
    imports,
    jobs,
    platform_webhooks,
    privacy,
    problems,
    reconciliations,
    refused_requests,
    reward_rules,
    setup,
    sign_in_links,
    store_webhooks,
    trial,
)
from platform_relay.api.authentication import Authenticator
from platform_relay.api.dependencies import Services
from platform_relay.api.middleware import ProblemHandler, RequestMiddleware
from platform_relay.api.raw_route import RawRoute
from platform_relay.core.errors import Problem
from platform_relay.imports.runner import ImportRunner
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
    imports_runner = ImportRunner(
        services.engine,
        services.inbox,
        services.import_compute,
        services.store,
        services.settings.store.adapter or "",
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        """At the end, stop the imports of this process, so that a worker resumes them at once."""
        yield
        await imports_runner.aclose()

    app = _App(
        services,
        lifespan=lifespan,
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
    app.state.imports = imports_runner
    app.state.setup = setup.SetupReader(services)
    for router in (
        events.routes(services, authenticator),  # the hot path is matched first
        batch.routes(services, authenticator),
        event_list.router,
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
        refused_requests.router,
        privacy.router,
        sign_in_links.router,
        setup.router,
        trial.router,
        health.router,
        console.routes(services, authenticator),
    ):
        # `include_router` would match every request twice, which is a quarter of the time for accepting an event.
        app.router.routes.extend(router.routes)
    documentation.install(app, list(EVENTS.values()))
    webhooks = RefusedWebhooks(services.engine, _webhook_sources(services))
    problems.install(app, services.metrics, webhooks, services.refused_requests)
    return app


class _App(FastAPI):
    """With RequestMiddleware around the layers of FastAPI and Starlette."""

    def __init__(self, services: Services, **options: Any) -> None:  # FastAPI's own
        super().__init__(**options)
        self._services = services

    def build_middleware_stack(self) -> ASGIApp:
        direct = {route.path: route for route in self.routes if isinstance(route, RawRoute)}
        on_problem = cast("ProblemHandler", self.exception_handlers[Problem])
        return RequestMiddleware(super().build_middleware_stack(), self._services, direct, on_problem)


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
