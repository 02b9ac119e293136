"""The web server of a process. A process without one does not import this module, nor what it imports."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn

from platform_relay.api.http_protocol import BACKLOG, limited_protocol
from platform_relay.main import create_app
from platform_relay.services import Services
from platform_relay.settings import Settings

GRACE_SECONDS: Final = 5
"""How long open requests may take to finish at shutdown."""


class WebServer(uvicorn.Server):
    """uvicorn without its signal handlers: `serve.run` handles the signals for all parts of the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server_config(settings: Settings, parts: Services) -> uvicorn.Config:
    """The configuration of the web server, with its limits (`api/http_protocol.py`)."""
    return uvicorn.Config(
        create_app(parts),
        host=settings.host,
        port=settings.port,
        http=limited_protocol(settings, parts.metrics),
        ws="none",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # api/client_ip.py reads them, by TRUSTED_PROXIES
        timeout_graceful_shutdown=GRACE_SECONDS,
        lifespan="on",
    )
