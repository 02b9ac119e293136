"""The settings of the service, read from environment variables. Tests compare docs/settings.md with this file.

Values come from the environment, from `.env`, and from one file per secret in `/run/secrets` (container secrets; the
file has the variable's name in lower case). Two underscores join a group and its member: `PLATFORM__API_KEY`.
Each store adapter defines the variables of its store (`app/stores/`).
"""

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    FilePath,
    HttpUrl,
    IPvAnyNetwork,
    SecretStr,
    TypeAdapter,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from platform_relay.core.database import PUBLIC, checked_schema
from platform_relay.core.database_url import schema_in
from platform_relay.core.encryption import NO_KEYS, KeyRing
from platform_relay.core.plain_numbers import PLAIN, PlainFloat, PlainInt
from platform_relay.core.root_path import checked_root_path

PLACEHOLDERS: Final = ("changeme", "change-me", "secret", "password", "example", "todo", "xxx", "placeholder")
MIN_LENGTH: Final = 24
"""The minimum number of characters of a key or secret that the operator chooses."""
MIN_DIFFERENT: Final = 12
"""The minimum number of different characters in it."""
SECRETS_DIR: Final = Path("/run/secrets")


def _per_second(value: object) -> object:
    """Calls per second, from `10/s`, `600/min`, `36000/h` or a number. Raises ValueError."""
    if not isinstance(value, str):
        return value
    if (match := re.fullmatch(r"([0-9]+(?:\.[0-9]*)?) ?(?:/ ?(s|sec|m|min|h))?", value.strip())) is None:
        raise ValueError("is not a rate; write it as 10/s, 600/min or 36000/h")
    return float(match[1]) / {None: 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}[match[2]]


def parse_rate(text: str) -> float:
    """Calls per second, from `10/s` or `600/min`. Raises ValueError."""
    return TypeAdapter(Rate).validate_python(text)


def _none_as_no_limit(value: object) -> object:
    """`none` switches off a limit that has a default; an empty variable would give the default."""
    return None if value == "none" else value


Rate = Annotated[float, BeforeValidator(_per_second), Field(ge=0.2, le=100_000)]
"""Calls per second. The minimum of 12/min lets all calls for one coupon fit into the 60 s of one attempt."""


def refuse_placeholder(secret: SecretStr | None) -> SecretStr | None:
    """Return the secret. Raises ValueError when it is a placeholder or shorter than 8 characters."""
    if secret is None:
        return None
    value = secret.get_secret_value()
    if value.lower().strip("<>") in PLACEHOLDERS:
        raise ValueError("is a placeholder; set the real secret")
    if len(value) < 8:
        raise ValueError("is shorter than 8 characters; copy the complete secret")
    return secret


def refuse_weak(secret: SecretStr | None) -> SecretStr | None:
    """Return a secret that the operator chose. Raises ValueError when it could be guessed.

    Secrets that a store or the Platform issues have the form that they issue; `refuse_placeholder` is for those.
    """
    if secret is not None:
        value = secret.get_secret_value()
        if value.lower().strip("<>") in PLACEHOLDERS:
            refuse_placeholder(secret)
        if len(value) < MIN_LENGTH or len(set(value)) < MIN_DIFFERENT:
            raise ValueError(
                f"is too easy to guess: it has {len(value)} characters, {len(set(value))} different ones, and needs at least"
                f" {MIN_LENGTH} and {MIN_DIFFERENT}; generate one with: openssl rand -hex 32"
            )
    return secret


class EnvironmentSettings(BaseSettings):
    """Defines where settings are read from. The settings class of each store adapter derives from it."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_nested_delimiter="__",
        secrets_dir=SECRETS_DIR if SECRETS_DIR.is_dir() else None,
        secrets_nested_delimiter="__",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # pydantic passes it by name
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, dotenv_settings, NestedSecretsSettingsSource(file_secret_settings)


class PlatformSettings(BaseModel):
    """Calls to the loyalty Platform, and the webhooks that it sends."""

    model_config = SettingsConfigDict(frozen=True)

    url: HttpUrl = Field(HttpUrl("https://platform.api.influence.io"), description="Base URL of the Platform API.")
    api_key: SecretStr | None = Field(
        None, description="The store's API key for the Platform API, sent in the header x-api-key."
    )
    launcher_url: HttpUrl = Field(
        HttpUrl("https://launcher.api.influence.io"), description="Base URL of the Launcher's public API."
    )
    shop_key: str | None = Field(
        None,
        description="The store's public key for the Launcher. Needed to read redeem rules and to confirm redemptions.",
    )
    webhook_secret: SecretStr | None = Field(
        None,
        description="The secret part of the webhook URL that you enter at the Platform. Empty: no webhooks are accepted.",
    )
    webhook_secret_previous: SecretStr | None = Field(
        None, description="The old webhook secret, which is also accepted while you change PLATFORM__WEBHOOK_SECRET."
    )
    allowed_networks: tuple[IPvAnyNetwork, ...] = Field(
        (),
        description='JSON list of the networks from which the Platform sends webhooks, e.g. ["203.0.113.0/24"]. Coupons from'
        " webhooks of other networks are refused. Empty: every network is allowed.",
    )
    timeout: PlainFloat = Field(
        10.0, gt=0, le=120, description="Maximum duration of one call to the Platform, in seconds."
    )
    ca_file: FilePath | None = Field(
        None,
        description="PEM file of a certificate authority. Set it when your own proxy is between the relay and the Platform.",
    )
    rate_limit: Rate | None = Field(
        None,
        description="Maximum rate of calls to the Platform, for all replicas together, e.g. `10/s` or `600/min`; at least"
        " `12/min`. Empty: no limit.",
    )
    reward_pages: PlainInt = Field(
        200,
        ge=1,
        le=10_000,
        description="Maximum number of pages of a customer's reward list that are read to confirm one redemption, within 30"
        " seconds. A redemption that is not on them is held.",
    )
    fields: dict[str, str] = Field(
        default_factory=dict,
        description='JSON object with names of Platform fields, e.g. {"order.totalPrice": "total"} (docs/platform.md).',
    )

    _no_placeholder = field_validator("api_key")(refuse_placeholder)
    _not_weak = field_validator("webhook_secret", "webhook_secret_previous")(refuse_weak)


class StoreSettings(BaseModel):
    """Calls to the store."""

    model_config = SettingsConfigDict(frozen=True)

    adapter: str | None = Field(
        None,
        description="The store adapter: a name from docs/stores.md, or `package.module:Class` for your own adapter.",
    )
    timeout: PlainFloat = Field(
        15.0, gt=0, le=120, description="Maximum duration of one call to the store, in seconds."
    )
    loyalty_sync: bool = Field(
        False,
        description="Whether to write customers, tiers, points and referrals from the Platform's webhooks to the store.",
    )
    rate_limit: Rate | None = Field(
        None,
        description="Maximum rate of calls to the store, for all replicas together, e.g. `2/s` or `120/min`; at least"
        " `12/min`. Empty: no limit.",
    )
    poll_interval: Annotated[float, Field(ge=5), PLAIN] | None = Field(
        None,
        description="Seconds between two reads of the store's lists, for stores without webhooks. Empty: they are not read.",
    )
    poll_degraded_after: timedelta = Field(
        timedelta(minutes=30),
        description="`/readyz` is degraded after this long without a successful read of the store's lists, for stores without"
        " webhooks.",
    )
    reconcile_at: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] | None = Field(
        "03:00",
        description="Time of the daily reconciliation (UTC), for stores whose adapter can list their data. `none`: never.",
    )

    _none = field_validator("reconcile_at", mode="before")(_none_as_no_limit)


VerificationWord = Literal["secret", "source", "known", "confirmed"]


class IssuanceLimitSettings(BaseModel):
    """Limits on the coupons that are issued. Further coupons are held until an operator decides. `none`: no limit."""

    model_config = SettingsConfigDict(frozen=True)

    customer_count: Annotated[int, Field(ge=1), PLAIN] | None = Field(
        20,
        description="Maximum number of coupons for one customer in 24 hours; further ones are held. `none`: no limit.",
    )
    customer_value: Annotated[Decimal, Field(gt=0), PLAIN] | None = Field(
        None,
        description="Maximum value of the coupons for one customer in 24 hours, in the store's currency. Empty: no limit.",
    )
    hour_count: Annotated[int, Field(ge=1), PLAIN] | None = Field(
        5_000,
        description="Maximum number of coupons for all customers in one hour; further coupons are held. `none`: no limit.",
    )
    hour_value: Annotated[Decimal, Field(gt=0), PLAIN] | None = Field(
        None,
        description="Maximum value of the coupons for all customers in one hour, in the store's currency. Empty: no limit.",
    )
    day_count: Annotated[int, Field(ge=1), PLAIN] | None = Field(
        20_000,
        description="Maximum number of coupons for all customers in 24 hours; further coupons are held. `none`: no limit.",
    )
    day_value: Annotated[Decimal, Field(gt=0), PLAIN] | None = Field(
        None,
        description="Maximum value of the coupons for all customers in 24 hours, in the store's currency. Empty: no limit.",
    )

    _none = field_validator("*", mode="before")(_none_as_no_limit)


class CouponSettings(BaseModel):
    """How coupons are issued for redemptions."""

    model_config = SettingsConfigDict(frozen=True)

    currency: str | None = Field(
        None,
        pattern="^[A-Z]{3}$",
        description="The store's currency (e.g. `EUR`), used when neither the Platform nor the reward rule gives one.",
    )
    expires_after: timedelta | None = Field(
        None, description="How long a coupon is valid after it is issued, e.g. `P90D`. Empty: it does not expire."
    )
    usage_limit: Annotated[int, Field(ge=1), PLAIN] = Field(
        1, description="How many times each coupon can be used in total."
    )
    restrict_to_customer: bool = Field(
        False, description="Whether only the customer who redeemed the points can use the coupon, by e-mail address."
    )
    combinable: bool = Field(True, description="Whether a coupon can be used together with other coupons.")
    max_value: PlainInt = Field(
        1000,
        ge=1,
        description="Maximum value of a fixed-amount coupon in the store's currency. Coupons above it are never issued.",
    )
    require: VerificationWord = Field(
        "secret",
        description="The verification level that every redemption needs before its coupon is issued: `secret`, `source`, `known`"
        " or `confirmed`. Each level includes those before it (docs/coupons.md).",
    )
    confirm_above: Annotated[Decimal, Field(ge=0), PLAIN] | None = Field(
        Decimal(20),
        description="Coupons above this value, percentages and free products need the level `confirmed`. `none`: no limit.",
    )
    max_value_from_webhook: Annotated[Decimal, Field(ge=0), PLAIN] = Field(
        Decimal(0),
        description="Maximum value of a referral or tier reward that is taken from the webhook alone. A larger value needs a"
        " reward rule that confirms it. Used only if `known` or `confirmed` is required.",
    )
    confirm_within: timedelta = Field(
        timedelta(minutes=5),
        description="How long the relay waits until the Platform lists a redemption, from its first negative answer. After that, it"
        " is refused.",
    )
    deadline: timedelta = Field(
        timedelta(minutes=2),
        description="How long a redemption may be without an active coupon before an alert is raised.",
    )
    issuance_limits: IssuanceLimitSettings = IssuanceLimitSettings()

    _none = field_validator("confirm_above", mode="before")(_none_as_no_limit)


class ConnectionSettings(BaseModel):
    """Limits on the connections to the web server, for each process.

    A connection is idle until the headers of a request are complete, and again after the response.
    """

    model_config = SettingsConfigDict(frozen=True)

    total: PlainInt = Field(
        1000,
        ge=16,
        description="Maximum number of open connections. It is lower when the process may not open so many files (`ulimit -n`).",
    )
    idle: PlainInt = Field(
        800,
        ge=8,
        description="Maximum number of connections without a request. The one that has been idle for longest is closed first.",
    )
    per_address: PlainInt = Field(
        250,
        ge=1,
        description="Maximum number of open connections from one IP address (IPv6: one /64 network), except TRUSTED_PROXIES.",
    )
    idle_per_address: PlainInt = Field(
        200,
        ge=1,
        description="Maximum number of connections without a request from one IP address, except TRUSTED_PROXIES.",
    )
    header_bytes: PlainInt = Field(
        32_768,
        ge=8192,
        le=1 << 20,
        description="Maximum size of a request's URL and headers, in bytes. Larger requests are answered with 431.",
    )
    header_count: PlainInt = Field(100, ge=20, le=1000, description="Maximum number of a request's headers; else 431.")
    first_byte_timeout: PlainFloat = Field(
        10.0, gt=0, le=300, description="Maximum time until the first byte of a new connection, in seconds."
    )
    headers_timeout: PlainFloat = Field(
        10.0,
        gt=0,
        le=300,
        description="Maximum time from the first byte of a request to the end of its headers, in seconds.",
    )
    byte_timeout: PlainFloat = Field(
        10.0,
        gt=0,
        le=300,
        description="Maximum pause between two parts of a request, or of a response that the client reads, in seconds.",
    )
    idle_timeout: PlainInt = Field(
        5,
        ge=1,
        le=3600,
        description="How long a connection stays open after a response without a new request, in seconds.",
    )


class RetrySettings(BaseModel):
    """When a failed job is tried again: the delay starts at `initial_delay`, grows by `multiplier` up to `max_delay`."""

    model_config = SettingsConfigDict(frozen=True)

    initial_delay: PlainFloat = Field(1.0, gt=0, description="Delay before the second attempt of a job, in seconds.")
    multiplier: PlainFloat = Field(2.0, ge=1, description="Factor by which the delay grows after each attempt.")
    max_delay: PlainFloat = Field(
        3600.0,
        gt=0,
        description="Maximum delay between two attempts, in seconds. It also limits the destination's Retry-After.",
    )
    jitter: PlainFloat = Field(
        0.2, ge=0, le=1, description="Maximum random share that is added to each delay; `0.2` adds up to 20 %."
    )
    window: timedelta = Field(
        timedelta(days=3),
        description="Determines the number of attempts: as many as fit into this time, without jitter. After the last one the"
        " job is dead-lettered.",
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
        description="Schema of the relay's tables; `relay migrate` creates it. It wins against a schema in DATABASE_URL. Several"
        " relays can share one database if each has its own schema (docs/operations.md).",
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
        " remove it or not. `/`: the root of a host, or X-Forwarded-Prefix of a proxy in TRUSTED_PROXIES.",
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
        description="Maximum size of a request body, in bytes, except for those of EVENT_LIMIT.",
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
        0.5, gt=0, le=60, description="Seconds between two checks for due jobs without a notification."
    )
    retention: timedelta = Field(
        timedelta(days=30),
        description="How long message bodies and response excerpts are kept. Older messages cannot be sent again.",
    )
    history: timedelta = Field(
        timedelta(days=400),
        ge=timedelta(days=1),
        description="How long finished messages are kept with their jobs and attempts. Not shorter than `RETENTION`. What"
        " waits or is dead, and redemptions, stay (docs/operations.md).",
    )
    dedupe: timedelta = Field(
        timedelta(days=800),
        description="How long the same event is recognised as a duplicate. Not shorter than `HISTORY`.",
    )
    history_export: Path | None = Field(
        None,
        description="Folder into which rows are written, as compressed NDJSON without bodies, before they leave the history."
        " Empty: they are not exported.",
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
