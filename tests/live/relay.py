"""The relay as the stores meet it: `relay serve` on a port of its own, with a simulated Platform behind it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from simulators.process import Simulator
from tests.helpers import eventually_sync, free_port

STORE_KEY: Final = "store-key-of-the-live-suite"
WEBHOOK_SECRET: Final = "webhook-secret-of-the-live-suite"
PATIENCE: Final = 90.0
"""Seconds that something may take to come through shop, relay and Platform on a slow machine."""


class Relay:
    """Started and stopped at will, always on the same port and database."""

    def __init__(self, folder: Path, database_url: str, platform: Simulator) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.platform = platform
        self._webhooks = f"{self.url}/v1/webhooks/platform/{WEBHOOK_SECRET}"
        self.folder = folder
        known = platform.inspect("config")
        self._environment = {
            "DATABASE_URL": database_url,
            "PORT": str(self.port),
            "STORE_KEY": STORE_KEY,
            "OPERATOR_KEY": "operator-key-of-the-live-suite",
            "PLATFORM__URL": platform.url,
            "PLATFORM__API_KEY": known["api_key"],
            "PLATFORM__LAUNCHER_URL": platform.url,
            "PLATFORM__SHOP_KEY": known["shop_key"],
            "PLATFORM__WEBHOOK_SECRET": WEBHOOK_SECRET,
            "RETRY__INITIAL_DELAY": "0.5",
            "RETRY__MAX_DELAY": "2",
        }

    @contextmanager
    def running(self, shop: Mapping[str, str]) -> Iterator[None]:
        """`relay serve` with the store's variables, until the block ends."""
        log = self.folder / "relay.log"
        with log.open("ab") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", "platform_relay.cli", "serve"], cwd=Path(__file__).parents[2], stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, env={**os.environ, **self._environment, **shop},
            )  # fmt: skip
        try:
            with httpx.Client(trust_env=False, timeout=5) as client:

                def ready() -> bool:
                    assert child.poll() is None, log.read_text()[-3000:]
                    try:
                        return client.get(f"{self.url}/readyz").status_code == 200
                    except httpx.HTTPError:
                        return False

                eventually_sync(ready, 60)
            yield
        finally:
            child.terminate()
            child.wait(30)

    def poll(self, shop: Mapping[str, str]) -> str:
        """What `relay poll` prints, with the store's variables. It must succeed."""
        done = subprocess.run(
            [sys.executable, "-m", "platform_relay.cli", "poll"], cwd=Path(__file__).parents[2], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=PATIENCE, check=False,
            env={**os.environ, **self._environment, **shop, "COLUMNS": "200"},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def delivered(self, kind: str, entity: str) -> list[dict[str, Any]]:
        """What the Platform took, in order: the bodies of `kind` calls that name the entity."""
        return [entry["body"] for entry in self.platform.ledger(kind=kind, entity=entity, applied=1)]

    def shows_title(self, product_id: str, title: str) -> bool:
        """Whether the Platform received this title of a product last."""
        return [body["title"] for body in self.delivered("product.put", f"product:{product_id}")[-1:]] == [title]

    def shows_variants(self, product_id: str, *variant_ids: str) -> bool:
        """Whether the Platform received these variants of a product last."""
        sent = self.delivered("variants.post", f"product:{product_id}")[-1:]
        return [{row["externalVariantId"] for row in body["variants"]} for body in sent] == [set(variant_ids)]

    def report_loyalty(self, customer_id: str, tier: str, points: int) -> None:
        """The Platform reports a customer's tier and points."""
        customer = {"externalId": customer_id, "currentLoyaltyTier": {"title": tier}, "pointBalance": points}
        self.platform.control("send-webhook", topic="customers/updated", body=customer, url=self._webhooks)

    def redeem(self, customer_id: str) -> str:
        """A customer redeems points for 5 off, once the Platform has received the customer; returns the coupon's code."""
        eventually_sync(lambda: self.delivered("customer.put", f"customer:{customer_id}"), PATIENCE)
        result = self.platform.control(
            "redeem", customerId=customer_id, ruleId="rule-5-off", allow_overdraft=True, url=self._webhooks
        )
        code: str = result["code"]
        return code
