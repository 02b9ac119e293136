"""Every environment variable, in one place (docs/settings.md is tested against this file).

Read from the environment, from `.env`, and from one file per secret in `/run/secrets` (container secrets; the file's
name is the variable's name in lower case). A group's members are joined by two underscores: `PLATFORM__API_KEY`.
A store's own variables stand in its adapter's file (`app/stores/`).
"""

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
from platform_relay.core.encryption import NO_KEYS, KeyRing

PLACEHOLDERS: Final = ("changeme", "change-me", "secret", "password", "example", "todo", "xxx", "placeholder")
SECRETS_DIR: Final = Path("/run/secrets")


def _per_second(value: object) -> object:
    """`10/s`, `600/min` or a number of calls per second."""
    if isinstance(value, str):
        number, slash, unit = value.partition("/")
        per = {"": 1.0, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
        if unit.strip() not in per or (slash and not unit.strip()):
            raise ValueError("write it as 10/s, 600/min or 36000/h")
        try:
            return float(number) / per[unit.strip()]
        except ValueError:
            raise ValueError("write it as 10/s, 600/min or 36000/h") from None
    return value


Rate = Annotated[float, BeforeValidator(_per_second), Field(ge=0.2, le=100_000)]
"""Calls per second. Below 12/min the calls of one coupon would not fit into the minute that an attempt has."""


def refuse_placeholder(secret: SecretStr | None) -> SecretStr | None:
    """A secret as given. Raises ValueError for a word out of a manual and for less than 8 characters."""
    if secret is None:
        return None
    value = secret.get_secret_value()
    if value.lower().strip("<>") in PLACEHOLDERS:
        raise ValueError("is a placeholder; set the real secret")
    if len(value) < 8:
        raise ValueError(
            "is shorter than 8 characters; copy the whole of it, or make one of your own with: openssl rand -hex 24"
        )
    return secret


class EnvironmentSettings(BaseSettings):
    """Where settings come from; adapters' own settings classes derive from it with an `env_prefix`."""

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
    """The loyalty Platform's API."""

    model_config = SettingsConfigDict(frozen=True)

    url: HttpUrl = Field(
        HttpUrl("https://platform.api.influence.io"), description="Base address of the Platform's API."
    )
    api_key: SecretStr | None = Field(None, description="The store's key for the Platform's API (header x-api-key).")
    launcher_url: HttpUrl = Field(
        HttpUrl("https://launcher.api.influence.io"), description="Base address of the Launcher's public API."
    )
    shop_key: str | None = Field(
        None,
        description="The store's public key at the Launcher; needed for its rule list and for confirming redemptions.",
    )
    webhook_secret: SecretStr | None = Field(
        None, description="The secret part of the address that the Platform posts its webhooks to."
    )
    webhook_secret_previous: SecretStr | None = Field(
        None, description="A second webhook secret that is accepted too, while the address is being changed."
    )
    allowed_networks: tuple[IPvAnyNetwork, ...] = Field(
        (),
        description='JSON list of the networks that the Platform posts from, e.g. ["203.0.113.0/24"]; coupons of webhooks'
        " from elsewhere are held. Empty: from anywhere.",
    )
    time_limit: float = Field(10.0, gt=0, le=120, description="Seconds that one call to the Platform may take.")
    ca_file: FilePath | None = Field(
        None, description="PEM file of the certificate authority, where a proxy of your own stands before the Platform."
    )
    rate: Rate | None = Field(
        None, description="Most calls to the Platform, by all replicas together: `10/s` or `600/min`; empty: no limit."
    )
    fields: dict[str, str] = Field(
        default_factory=dict,
        description='JSON object that renames assumed field names, e.g. {"order.totalPrice": "total"} (docs/platform.md).',
    )

    _no_placeholder = field_validator("api_key", "webhook_secret", "webhook_secret_previous")(refuse_placeholder)


class StoreSettings(BaseModel):
    """Calls to the store."""

    model_config = SettingsConfigDict(frozen=True)

    adapter: str | None = Field(
        None, description="The shop: a name of docs/adapters.md, or `package.module:Class` for an adapter of your own."
    )
    time_limit: float = Field(15.0, gt=0, le=120, description="Seconds that one call to the store may take.")
    news: bool = Field(
        False,
        description="Forward the Platform's news (customers, tiers, earned points, referrals) to a store that takes them.",
    )
    rate: Rate | None = Field(
        None, description="Most calls to the store, by all replicas together: `2/s` or `120/min`; empty: no limit."
    )
    public_url: HttpUrl | None = Field(
        None,
        description="Where the store reaches the relay, for `relay connect` and to see that its webhooks are still on.",
    )
    poll: Annotated[float, Field(ge=5)] | None = Field(
        None,
        description="Seconds between two readings of the store's lists, for stores without webhooks; empty: never.",
    )
    reconcile_at: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] | None = Field(
        "03:00",
        description="When (UTC) the store is compared with what was received and delivered, every night, where the store has"
        " lists; `none`: never.",
    )

    @field_validator("reconcile_at", mode="before")
    @classmethod
    def _none(cls, value: object) -> object:
        return None if value == "none" else value


ProofWord = Literal["door", "source", "known", "confirmed"]


class IssuanceLimitSettings(BaseModel):
    """The most that may be issued; above, coupons are held until a person releases the fuse. `none`: no limit."""

    model_config = SettingsConfigDict(frozen=True)

    customer_count: Annotated[int, Field(ge=1)] | None = Field(
        20, description="Most coupons of one customer in 24 hours; above, this customer's are held."
    )
    customer_value: Annotated[Decimal, Field(gt=0)] | None = Field(
        None, description="Most value of one customer's coupons in 24 hours, in the store's currency."
    )
    hour_count: Annotated[int, Field(ge=1)] | None = Field(
        5_000, description="Most coupons in one hour; above, all are held."
    )
    hour_value: Annotated[Decimal, Field(gt=0)] | None = Field(
        None, description="Most value of the coupons of one hour, in the store's currency."
    )
    day_count: Annotated[int, Field(ge=1)] | None = Field(
        20_000, description="Most coupons in 24 hours; above, all are held."
    )
    day_value: Annotated[Decimal, Field(gt=0)] | None = Field(
        None, description="Most value of the coupons of 24 hours, in the store's currency."
    )

    @field_validator("*", mode="before")
    @classmethod
    def _none(cls, value: object) -> object:
        return None if value == "none" else value


class CouponSettings(BaseModel):
    """How redeemed coupons are made."""

    model_config = SettingsConfigDict(frozen=True)

    currency: str | None = Field(
        None,
        pattern="^[A-Z]{3}$",
        description="The store's currency (ISO 4217) when neither the Platform nor the rule tells it.",
    )
    expires_after: timedelta | None = Field(
        None, description="How long a coupon is valid, e.g. `P90D` or seconds; empty: for ever."
    )
    usage_limit: Annotated[int, Field(ge=1)] = Field(1, description="How often one coupon may be used in all.")
    restrict_to_customer: bool = Field(
        False, description="Only the customer who redeemed may use the coupon (by e-mail, where the store can)."
    )
    combinable: bool = Field(True, description="Whether a coupon may be used together with others.")
    max_value: int = Field(
        1000, ge=1, description="No fixed-amount coupon above this many units of the store's currency is ever created."
    )
    require: ProofWord = Field(
        "door",
        description="The proof that every redemption needs before a coupon is made: `door`, `source`, `known` or"
        " `confirmed`, each with those before it (docs/coupons.md).",
    )
    confirm_above: Annotated[Decimal, Field(ge=0)] | None = Field(
        Decimal(20),
        description="Coupons worth more than this, percentages and free products need `confirmed`; `none`: `require`"
        " alone counts.",
    )
    body_up_to: Annotated[Decimal, Field(ge=0)] = Field(
        Decimal(0),
        description="With `known` and `confirmed`: the largest amount that is believed on the webhook's word alone, where"
        " no rule tells what a referral or tier reward is worth.",
    )
    confirm_within: timedelta = Field(
        timedelta(minutes=5),
        description="How long the Platform is asked again for a redemption that it does not list, before it is refused.",
    )
    deadline: timedelta = Field(
        timedelta(minutes=2), description="A redemption that is no active coupon by then raises an alert."
    )
    fuse: IssuanceLimitSettings = IssuanceLimitSettings()

    @field_validator("confirm_above", mode="before")
    @classmethod
    def _none(cls, value: object) -> object:
        return None if value == "none" else value


class RetrySettings(BaseModel):
    """When a failed job is tried again: delays grow from `first` by `factor` up to `longest`, for `window` in all."""

    model_config = SettingsConfigDict(frozen=True)

    first: float = Field(1.0, gt=0, description="Seconds before the second attempt.")
    factor: float = Field(2.0, ge=1, description="By how much each delay is longer than the one before.")
    longest: float = Field(3600.0, gt=0, description="The longest delay in seconds; Retry-After is bounded by it too.")
    jitter: float = Field(0.2, ge=0, le=1, description="Up to this share is added to each delay by chance.")
    window: timedelta = Field(timedelta(days=3), description="How long a job is tried before it is given up as dead.")


class Settings(EnvironmentSettings):
    """Everything the service can be told."""

    database_url: SecretStr | None = Field(
        None, description="PostgreSQL 15 or newer. Empty: the embedded PostgreSQL, with its data in DATA_DIR."
    )
    database_pool: int = Field(10, ge=2, le=200, description="Connections that each process may hold.")
    database_schema: str = Field(
        PUBLIC,
        description="The schema that holds this relay's tables; `relay migrate` creates it. Give each store its own, and several"
        " relays share one database (docs/operations.md).",
    )
    listen_url: SecretStr | None = Field(
        None,
        description="A direct address of the same database for LISTEN, where DATABASE_URL goes through a transaction pooler.",
    )
    heartbeat: Path | None = Field(
        None, description="A file that is touched every few seconds while the worker lives, for a container's probe."
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port on HOST where a worker that runs alone serves its own metrics (docs/operations.md); empty: nowhere.",
    )
    data_dir: Path = Field(Path(".relay"), description="Where the embedded PostgreSQL keeps its data.")
    host: str = Field("127.0.0.1", description="Address that the web server listens on.")
    port: int = Field(8080, ge=0, le=65535, description="Port that the web server listens on.")
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(
        (),
        description='JSON list of the networks of your own proxies, e.g. ["10.0.0.0/8"]: only from them X-Forwarded-For'
        " is believed.",
    )
    private_networks: tuple[IPvAnyNetwork, ...] = Field(
        (),
        description="JSON list of the private networks that the Platform's or the store's host name may lead to, e.g."
        ' ["172.16.0.0/12"] for a store in the same Docker network; other private addresses are not called.',
    )
    body_limit: int = Field(1 << 20, ge=1024, le=64 << 20, description="Largest request body in bytes.")
    store_key: SecretStr | None = Field(
        None, description="The key that the store's backend sends (scopes events and read). More keys: `relay keys`."
    )
    operator_key: SecretStr | None = Field(
        None, description="The operator's key (all scopes). More keys: `relay keys`."
    )
    slots: int = Field(64, ge=1, le=1024, description="Calls in flight at once, per destination and worker process.")
    poll: float = Field(
        0.5, gt=0, le=60, description="Seconds between two looks for due work when nothing woke the worker."
    )
    retention: timedelta = Field(
        timedelta(days=30), description="How long bodies, and the excerpts of answers, are kept."
    )
    body_keys: SecretStr | None = Field(
        None,
        description="Keys that bodies are encrypted under in the database, as `name:base64 of 32 bytes`, separated by commas:"
        " the first encrypts, all decrypt (docs/operations.md). Empty: bodies are stored as they arrive.",
    )
    log_level: str = Field(
        "INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least severe log line that is written."
    )
    log_format: str = Field("json", pattern="^(json|text)$", description="`json`, or `text` for reading at a terminal.")
    otlp_endpoint: HttpUrl | None = Field(
        None,
        description="Where traces are sent by OTLP over HTTP, such as `http://collector:4318` (the extra `otel`). Empty: no"
        " traces.",
    )
    alert_webhook_url: SecretStr | None = Field(
        None,
        description='Where alerts are posted as Slack takes them (`{"text": …}`), each once; nothing about a person or a'
        " coupon is sent.",
    )
    platform: PlatformSettings = PlatformSettings()
    store: StoreSettings = StoreSettings()
    coupons: CouponSettings = CouponSettings()
    retry: RetrySettings = RetrySettings()

    _no_placeholder = field_validator("store_key", "operator_key")(refuse_placeholder)
    _is_schema = field_validator("database_schema")(checked_schema)

    @field_validator("body_keys")
    @classmethod
    def _is_ring(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys is not None:
            KeyRing.parse(keys.get_secret_value())
        return keys

    @property
    def ring(self) -> KeyRing:
        """What bodies are encrypted with."""
        return KeyRing.parse(self.body_keys.get_secret_value()) if self.body_keys else NO_KEYS

    @field_validator("alert_webhook_url")
    @classmethod
    def _is_address(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("https://", "http://")):
            raise ValueError("is no address; write it like https://hooks.slack.com/services/…")
        return url

    @model_validator(mode="after")
    def _keys_differ(self) -> Self:
        if self.store_key and self.operator_key and self.store_key == self.operator_key:
            raise ValueError("STORE_KEY and OPERATOR_KEY are the same; the store must not hold the operator's rights")
        return self
