"""What to do after `relay init`. Pure."""

from dataclasses import dataclass
from typing import Final

from platform_relay.setup.checklist import TOPICS

NOT_REACHABLE: Final = (
    "     The Platform cannot reach this address yet. Put the relay behind a proxy with HTTPS, set PUBLIC_URL to that address,"
    " and enter it instead."
)
EXAMPLE: Final = '{"id": "1", "email": "ada@example.com", "firstName": "Ada"}'


@dataclass(frozen=True, slots=True)
class Installed:
    """What `relay init` has set up. `address` is that of the relay without a slash at its end, `file` the file of the settings.

    `local`: the Platform and the store run on this machine, as the simulators do, and reach the address. `installs_webhooks`: the
    relay can install the store's own webhooks. `reachable`: PUBLIC_URL is set. `start` starts the relay, and `command` runs a
    command of it.
    """

    address: str
    webhook_secret: str
    file: str
    adapter: str | None
    installs_webhooks: bool
    reachable: bool = True
    start: str = "relay serve"
    command: str = "relay"
    local: bool = False


def first_steps(installed: Installed) -> str:
    """The next three steps, as text for a terminal. It contains the webhook secret, because the Platform needs it."""
    hook = f"{installed.address}/v1/webhooks/platform/{installed.webhook_secret}"
    topics = "\n".join(
        f"     {topic:<40} {hook}" + (f"   (only for {feature})" if feature else "")
        for topic, feature in TOPICS.items()
    )
    lines = [
        "Next steps",
        "",
        f"1. Start the relay, and open {installed.address}/console. Sign in with OPERATOR_KEY from {installed.file}:",
        f"     {installed.start}",
        "",
        "2. Send the first event. STORE_KEY is read from the file, so it does not appear in the shell history:",
        f"     curl -sS {installed.address}/v1/events/customers -H 'content-type: application/json' \\",
        f"       -H \"Authorization: Bearer $(sed -n 's/^STORE_KEY=//p' {installed.file})\" \\",
        f"       -d '{EXAMPLE}'",
        *_webhooks_step(installed),
        "",
        "3. At the Platform, enter the address of its webhooks for each topic. It contains a secret: keep it secret.",
        topics,
        *([] if installed.reachable or installed.local else [NOT_REACHABLE]),
        "",
        "The page Set-up of the console shows what arrives, and creates a test coupon in the store.",
    ]
    return "\n".join(lines)


def _webhooks_step(installed: Installed) -> list[str]:
    if installed.adapter is None:
        return []
    if installed.installs_webhooks:
        address = (
            ""
            if installed.reachable
            else f" --address {installed.address if installed.local else 'https://YOUR-RELAY'}"
        )
        return [
            "   Then install the store's own webhooks, which send all further events:",
            f"     {installed.command} webhooks install{address}",
        ]
    return [f"   Further events: see docs/stores/{installed.adapter}.md, or let the relay read the store's lists."]
