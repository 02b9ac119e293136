"""The settings of the service, read from environment variables. Tests compare docs/settings.md with this file.

Values come from the environment, from `.env`, and from one file per secret in `/run/secrets` (container secrets; the
file has the variable's name in lower case). Two underscores join a group (`setting_groups`) and its member:
`PLATFORM__API_KEY`. Each store adapter defines the variables of its store (`app/stores/`).
"""

from datetime import timedelta
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, HttpUrl, IPvAnyNetwork, SecretStr, field_validator, model_validator

from platform_relay.core.database import PUBLIC, checked_schema
from platform_relay.core.database_url import schema_in
from platform_relay.core.encryption import NO_KEYS, KeyRing
from platform_relay.core.environment_settings import EnvironmentSettings
from platform_relay.core.plain_numbers import PlainFloat, PlainInt
from platform_relay.core.root_path import checked_root_path
from platform_relay.core.setting_values import refuse_weak
from platform_relay.setting_groups import (
    ConnectionSettings,
    CouponSettings,
    PlatformSettings,
    RetrySettings,
    StoreSettings,
)


class Settings(EnvironmentSettings):
    """All settings of the service; store adapters define more (`app/stores/`)."""

    mode: Literal["live", "shadow"] = Field(
        "live",
        description="`shadow` at the first start begins a trial beside an existing connector: everything is processed and"
        " explained, and nothing is changed at the Platform and the store, until `relay shadow go-live` (docs/trial.md).",
    )
    database_url: SecretStr | None = Field(
        None,
        description="URL of a PostgreSQL database, version 15 or newer, e.g."
        " `postgresql://user:password@host:5432/database`. Empty: the embedded PostgreSQL is used, with its data in DATA_DIR.",
    )
    database_pool_size: PlainInt = Field(
        10, ge=2, le=200, description="Maximum number of database connections of each process."
    )
    database_schema: str = Field(
        PUBLIC,
        description="Schema of the relay's tables; `relay migrate` creates it. It takes precedence over a schema in"
        " DATABASE_URL. Several relays can share one database if each has its own schema (docs/operations.md).",
    )
    database_listen_url: SecretStr | None = Field(
        None, description="Direct URL of the same database for LISTEN, when DATABASE_URL leads to a transaction pooler."
    )
    database_synchronous_replication: bool = Field(
        False,
        description="Set it to `true` only if PostgreSQL commits synchronously to the standby that a failover promotes"
        " (docs/operations.md). Otherwise, after a failover, waiting jobs ask the destination before they send, and an"
        " alert names the time span that may be lost.",
    )
    heartbeat_file: Path | None = Field(
        None, description="File that a running worker touches every 5 seconds, for a container's liveness probe."
    )
    metrics_port: PlainInt | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port on HOST for the metrics of `relay worker` (docs/operations.md). Empty: they are not served.",
    )
    data_dir: Path = Field(
        Path(".relay"),
        description="Folder for the data of the embedded PostgreSQL, and for the newest known hash of the audit log.",
    )
    host: str = Field("127.0.0.1", description="Address on which the web server listens.")
    port: PlainInt = Field(8080, ge=0, le=65535, description="Port on which the web server listens.")
    public_url: HttpUrl | None = Field(
        None,
        description="Base URL at which the store reaches the relay, e.g. `https://relay.example`. Needed for `relay webhooks"
        " install` and for the regular check that the store's webhooks are enabled.",
    )
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(
        (),
        description='JSON list of the networks whose proxies may set X-Forwarded-For or Forwarded, e.g. ["10.0.0.0/8"].',
    )
    root_path: str = Field(
        "/",
        validate_default=True,
        description="Path under which a proxy serves the relay, e.g. `/loyalty` for `https://host.example/loyalty/`. The proxy may"
        " remove it from requests or pass it on. `/`: no path, or the one in X-Forwarded-Prefix of a proxy in TRUSTED_PROXIES.",
    )
    private_networks: tuple[IPvAnyNetwork, ...] = Field(
        (),
        description="JSON list of the private networks in which the Platform or the store may be, e.g."
        ' ["172.16.0.0/12"] for a store in the same Docker network. Other private addresses are not called.',
    )
    body_limit: PlainInt = Field(
        1 << 20,
        ge=1024,
        le=64 << 20,
        description="Maximum size of a request body and of a line of a batch, in bytes. EVENT_LIMIT is the limit of single"
        " events and of the store's webhooks.",
    )
    event_limit: PlainInt = Field(
        16 << 20,
        ge=1024,
        le=64 << 20,
        description="Maximum size of a single event and of a store's own webhook, in bytes.",
    )
    store_key: SecretStr | None = Field(
        None,
        description="API key of the store's backend, with the scopes events and read. `relay keys` creates more keys.",
    )
    operator_key: SecretStr | None = Field(
        None, description="API key for the operator, with all scopes. `relay keys` creates more keys."
    )
    concurrency: PlainInt = Field(
        64, ge=1, le=1024, description="Maximum number of concurrent calls to a destination, per worker."
    )
    poll_interval: PlainFloat = Field(
        0.5, gt=0, le=60, description="Seconds after which a worker looks for due jobs without a notification."
    )
    retention: timedelta = Field(
        timedelta(days=30),
        description="How long message bodies and response excerpts are kept. Older messages cannot be sent again.",
    )
    history: timedelta = Field(
        timedelta(days=400),
        ge=timedelta(days=1),
        description="How long finished messages are kept with their jobs and attempts. Not shorter than `RETENTION`."
        " Messages with an open or dead job, and redemptions, are kept longer (docs/operations.md).",
    )
    dedupe: timedelta = Field(
        timedelta(days=800),
        description="How long a repeated event is recognised as a duplicate. Not shorter than `HISTORY`.",
    )
    history_export: Path | None = Field(
        None,
        description="Folder to which messages are written, as compressed NDJSON without bodies, before they are deleted after"
        " HISTORY. Empty: they are not exported.",
    )
    body_keys: SecretStr | None = Field(
        None,
        description="Keys for the encryption of message bodies in the database: `name:key`, separated by commas, where each"
        " key is 32 bytes in base64. The first key encrypts, all keys decrypt (docs/operations.md). Empty: no encryption.",
    )
    log_level: str = Field(
        "INFO",
        pattern="^(DEBUG|INFO|WARNING|ERROR)$",
        description="Minimum level of log lines: `DEBUG`, `INFO`, `WARNING` or `ERROR`.",
    )
    refused_requests: bool = Field(
        True,
        description="Keep the last 1,000 refused requests for 14 days, without their values, for the console's page *Refused"
        " requests* and `GET /v1/refused-requests`.",
    )
    log_format: str = Field(
        "json",
        pattern="^(json|text)$",
        description="Format of the log lines: `json`, or `text` for reading in a terminal.",
    )
    otlp_endpoint: HttpUrl | None = Field(
        None,
        description="URL of an OpenTelemetry collector to which traces are sent by OTLP over HTTP, e.g."
        " `http://collector:4318`. Needs the extra `otel`. Empty: no traces.",
    )
    alert_webhook_url: SecretStr | None = Field(
        None,
        description="Slack-compatible webhook URL to which each alert is posted once. The text contains no customer data and"
        " no coupon code. Empty: alerts are not posted.",
    )
    platform: PlatformSettings = PlatformSettings()
    store: StoreSettings = StoreSettings()
    coupons: CouponSettings = CouponSettings()
    retry: RetrySettings = RetrySettings()
    connections: ConnectionSettings = ConnectionSettings()

    @model_validator(mode="before")
    @classmethod
    def _schema_of_the_url(cls, values: dict[str, object]) -> dict[str, object]:
        """DATABASE_SCHEMA wins; without it, the schema that DATABASE_URL names."""
        url = values.get("database_url")
        url = url.get_secret_value() if isinstance(url, SecretStr) else url
        if values.get("database_schema") or not isinstance(url, str):
            return values
        try:
            schema = schema_in(url)
        except ValueError:
            return values  # connecting reports it, with the setting
        if not schema:
            return values
        try:
            return values | {"database_schema": checked_schema(schema)}
        except ValueError as error:
            raise ValueError(f"DATABASE_URL names the schema {error}; or set DATABASE_SCHEMA, which wins") from None

    _not_weak = field_validator("store_key", "operator_key")(refuse_weak)
    _is_root_path = field_validator("root_path")(checked_root_path)
    _is_schema = field_validator("database_schema")(checked_schema)

    @field_validator("body_keys")
    @classmethod
    def _is_key_ring(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys is not None:
            KeyRing.parse(keys.get_secret_value())
        return keys

    @property
    def key_ring(self) -> KeyRing:
        """The keys that encrypt message bodies."""
        return KeyRing.parse(self.body_keys.get_secret_value()) if self.body_keys else NO_KEYS

    @field_validator("alert_webhook_url")
    @classmethod
    def _is_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("https://", "http://")):
            raise ValueError("is not a URL; write it like https://hooks.slack.com/services/…")
        return url

    @model_validator(mode="after")
    def _times_are_in_order(self) -> Self:
        if self.history < self.retention:
            raise ValueError(
                "HISTORY is shorter than RETENTION, so that messages would leave before their bodies; raise HISTORY, or lower"
                " RETENTION"
            )
        if self.dedupe < self.history:
            raise ValueError(
                "DEDUPE is shorter than HISTORY, so that an event could be accepted again while its first message is still"
                " stored; raise DEDUPE, or lower HISTORY"
            )
        return self

    @model_validator(mode="after")
    def _keys_differ(self) -> Self:
        if self.store_key and self.operator_key and self.store_key == self.operator_key:
            raise ValueError("STORE_KEY and OPERATOR_KEY are the same; the store would have the operator's rights")
        return self
