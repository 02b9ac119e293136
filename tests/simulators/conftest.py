"""Running simulators, and a place for their webhooks to arrive."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from typing_extensions import override

from simulators.process import Simulator, run


@pytest.fixture(scope="module")
def platform_process() -> Iterator[Simulator]:
    with run("platform") as simulator:
        yield simulator


@pytest.fixture
def platform(platform_process: Simulator) -> Simulator:
    """The Platform simulator, fresh, its client holding the key."""
    platform_process.reset(config=True)
    platform_process.client.headers["x-api-key"] = "sim-platform-key"
    return platform_process


@pytest.fixture(scope="module")
def shop_process() -> Iterator[Simulator]:
    with run("shop") as simulator:
        yield simulator


@pytest.fixture
def shop(shop_process: Simulator) -> Simulator:
    """The store simulator, fresh, its client holding the consumer key."""
    shop_process.reset(config=True)
    shop_process.client.auth = httpx.BasicAuth("ck_simulator_key", "cs_simulator_key")
    return shop_process


class Receiver:
    """A little HTTP server: `statuses` are given in order, the last for ever; `received` holds (headers, body)."""

    def __init__(self) -> None:
        self.statuses = [202]
        self.received: list[tuple[dict[str, str], bytes]] = []
        self._arrived = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                with receiver._arrived:
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    status = receiver.statuses[min(len(receiver.received), len(receiver.statuses) - 1)]
                    receiver.received.append((headers, body))
                    receiver._arrived.notify_all()
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            @override
            def log_message(self, format: str, *args: object) -> None:  # the name it overrides
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def wait(self, count: int, seconds: float = 10.0) -> list[tuple[dict[str, str], bytes]]:
        """What arrived, once there are `count`."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.received) >= count, seconds), self.received
            return list(self.received)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()
