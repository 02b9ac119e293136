"""The web process: `create_app(services)` puts the doors together."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from app.api import (
    batch,
    channels,
    coupons,
    documentation,
    events,
    health,
    jobs,
    operator,
    problems,
    reward_rules,
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
    app.include_router(batch.routes(services, keys))
    app.include_router(events.routes(services, keys))
    app.include_router(webhooks.routes(services))
    app.include_router(operator.routes(services, keys))
    app.include_router(jobs.routes(services, keys))
    app.include_router(channels.routes(services, keys))
    app.include_router(reward_rules.routes(services, keys))
    app.include_router(coupons.routes(services, keys))
    app.include_router(health.routes(services))
    documentation.install(app, (*EVENTS.values(), *operator.BODIES, *reward_rules.BODIES))
    problems.install(app)
    app.add_middleware(Guard, metrics=services.metrics)
    return app


def _version() -> str:
    try:
        return version("platform-relay")
    except PackageNotFoundError:
        return "0"
