"""The groups of settings: `PLATFORM__…`, `STORE__…`, `COUPONS__…`, `CONNECTIONS__…` and `RETRY__…`."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, Field, FilePath, HttpUrl, IPvAnyNetwork, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from platform_relay.core.plain_numbers import PLAIN, PlainFloat, PlainInt
from platform_relay.core.setting_values import Rate, none_as_no_limit, refuse_placeholder, refuse_weak


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
        description="Whether to write customers' tiers and points from the Platform's webhooks to the store (docs/stores.md).",
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

    _none = field_validator("reconcile_at", mode="before")(none_as_no_limit)


VerificationWord = Literal["secret", "source", "known", "confirmed"]


class IssuanceLimitSettings(BaseModel):
    """Limits on the coupons that are issued. Further coupons are held until an operator decides. `none`: no limit."""

    model_config = SettingsConfigDict(frozen=True)

    customer_count: Annotated[int, Field(ge=1), PLAIN] | None = Field(
        20,
        description="Maximum number of coupons for one customer in 24 hours; further coupons are held. `none`: no limit.",
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

    _none = field_validator("*", mode="before")(none_as_no_limit)


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

    _none = field_validator("confirm_above", mode="before")(none_as_no_limit)


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
    header_count: PlainInt = Field(
        100,
        ge=20,
        le=1000,
        description="Maximum number of a request's headers. Requests with more are answered with 431.",
    )
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
