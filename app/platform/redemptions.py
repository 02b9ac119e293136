"""A redemption: what one webhook of the Platform reports about one coupon."""

from dataclasses import dataclass

from platform_relay.platform.rules import PlatformRule


@dataclass(frozen=True, slots=True)
class Redemption:
    """One coupon code that the Platform gave to one customer.

    `id` is the redemption's own id (of the webhook's body or of the reward). `rule_id` finds the operator's rule (rewards
    without a rule of the Platform have `referral-customer`, `referral-friend` or `tier-entry`). `points` is never negative.
    `embedded` is the rule or the reward in the webhook itself.
    """

    code: str
    id: str | None
    reward_type: str | None
    rule_id: str | None
    points: int | None = None
    customer_id: str | None = None
    email: str | None = None
    embedded: PlatformRule | None = None

    @property
    def identities(self) -> frozenset[str]:
        """The names that the Platform may use for the customer: the store's id, the e-mail address in lower case."""
        return frozenset(name for name in (self.customer_id, self.email.lower() if self.email else None) if name)

    @property
    def customer_ref(self) -> str | None:
        """The Platform's name for the customer: the store's id, else the e-mail address in lower case."""
        return self.customer_id or (self.email.lower() if self.email else None)
