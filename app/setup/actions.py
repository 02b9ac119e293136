"""What operators do on the page *Set-up*. Every action writes to the audit."""

import secrets
from datetime import UTC, datetime
from typing import Final

from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncEngine

from platform_relay import stores
from platform_relay.audit.record import audit
from platform_relay.core.http import HttpClient, HttpResponse, failure_of
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.settings import Settings
from platform_relay.setup.records import BACKUP, FINISHED, TEST_ALERT, put_record
from platform_relay.setup.test_coupon import CouponTests, spec_of_test
from platform_relay.stores.base import Ready, StoreAdapter

CODE_BYTES: Final = 5
"""Random bytes of a test coupon's code. It works for an hour at most, and is not shown to customers."""
TEST_MESSAGE: Final[JsonValue] = {"text": "*Platform Relay: Test*\nThis is a test. Alerts of the relay arrive here."}


class CannotTestError(Exception):
    """The text is why no test is possible, as a sentence."""


class BackupInFutureError(Exception):
    """The stated time of a backup is in the future."""


class SetupActions:
    """`store` is None while no store is configured."""

    def __init__(self, engine: AsyncEngine, settings: Settings, store: StoreAdapter | None) -> None:
        self._engine = engine
        self._settings = settings
        self._store = store

    async def test_coupon(self, by: str) -> Reason | None:
        """Create a test coupon, read it back and remove it. Returns why that failed; None if all of it worked.

        Raises CannotTestError, and `test_coupon.AnotherTestError`.
        """
        adapter, store = self._settings.store.adapter, self._store
        if store is None or adapter is None:
            raise CannotTestError(because(ReasonCode.NO_STORE).text)
        currency = self._settings.coupons.currency
        if currency is None and isinstance(ready := await store.check(), Ready):
            currency = min(ready.currencies, default=None)
        code = f"RELAYTEST{secrets.token_hex(CODE_BYTES).upper()}"
        spec = spec_of_test(code, stores.adapter_class(adapter), currency, datetime.now(UTC))
        if spec is None:
            raise CannotTestError(f"{adapter} supports no coupon that needs no product.")
        return await CouponTests(self._engine, store, adapter).run(spec, by)

    async def test_alert(self, by: str) -> Reason | None:
        """Post a test to the chat. Returns why it was not accepted; None if it was. Raises CannotTestError."""
        if self._settings.alert_webhook_url is None:
            raise CannotTestError("ALERT_WEBHOOK_URL is not set.")
        url = self._settings.alert_webhook_url.get_secret_value()
        http = HttpClient(destination="the chat", connections=1)
        try:
            response = await http.call("POST", url, json=TEST_MESSAGE)
        finally:
            await http.aclose()
        outcome = failure_of(response) if isinstance(response, HttpResponse) else response
        failure = outcome.reason if outcome is not None else None
        async with self._engine.begin() as connection:
            await put_record(connection, TEST_ALERT, by, failure=failure)
            detail = {"reason_code": failure.code.value} if failure else {}
            await audit(connection, by, "setup.test_alert", "alerts", detail)
        return failure

    async def state_backup(self, at: datetime, by: str) -> None:
        """Record when the last backup was made. Raises BackupInFutureError."""
        if at > datetime.now(UTC):
            raise BackupInFutureError
        async with self._engine.begin() as connection:
            await put_record(connection, BACKUP, by, at=at)
            await audit(connection, by, "setup.backup", "database", {"at": at.astimezone(UTC).isoformat()})

    async def finish(self, by: str) -> None:
        """*Set-up* is no longer the first page of the console."""
        async with self._engine.begin() as connection:
            await put_record(connection, FINISHED, by)
            await audit(connection, by, "setup.finished", "setup", {})
