"""The Platform's customers, to find those that it lacks, or has with another e-mail address."""

import hashlib
from dataclasses import dataclass, field

from platform_relay.core import exact_json
from platform_relay.core.reasons import Reason
from platform_relay.platform.client import PlatformClient
from platform_relay.reconcile.differences import StoreSnapshot


@dataclass(slots=True)
class PlatformCustomers:
    """id -> a digest of the e-mail address, in eight bytes to save memory."""

    digests: dict[str, bytes] = field(default_factory=dict)

    def has(self, customer: StoreSnapshot) -> bool:
        digest = self.digests.get(customer.id)
        return digest is not None and (customer.email is None or digest == email_digest(customer.email))


async def list_all(platform: PlatformClient) -> PlatformCustomers | Reason:
    """All customers of the Platform, or why the list could not be read to its end."""
    customers, cursor = PlatformCustomers(), None
    while True:
        page = await platform.list_customers(cursor)
        if not isinstance(page, tuple):
            return page.reason
        rows, cursor = page
        for row in rows:
            identifier = exact_json.text(row.get("externalId"))
            if identifier:
                customers.digests[identifier] = email_digest(exact_json.text(row.get("email")))
        if cursor is None:
            return customers


def email_digest(email: str | None) -> bytes:
    return hashlib.blake2b((email or "").casefold().encode(), digest_size=8).digest()
