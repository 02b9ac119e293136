"""docs/platform.md says what the code assumes."""

import re
from pathlib import Path

from platform_relay.platform.fields import ASSUMPTIONS
from platform_relay.platform.webhooks import redemption_of, webhook_message

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "platform.md").read_text("utf-8")
ROW = re.compile(r"^\| `([a-zA-Z]+\.[\w.]+)` \| `([^`]+)` \| ([AM]) \| (.+) \|$", re.MULTILINE)


def test_the_table_of_assumptions_is_the_one_in_the_code() -> None:
    assert ROW.findall(PAGE) == [(key, *assumption) for key, assumption in ASSUMPTIONS.items()]


def test_the_files_that_it_names_exist() -> None:
    named = set(re.findall(r"`(app/[\w/]+\.py)`", PAGE))
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_the_rule_ids_that_it_names_are_those_of_the_webhooks() -> None:
    for topic, raw in (
        (
            "referrals/started",
            b'{"id": "1", "customerReward": {"couponCode": "a"}, "friendReward": {"couponCode": "b"}}',
        ),
        ("customers/tier_entry_reward_earned", b'{"id": "1", "couponCode": "c"}'),
    ):
        for job in webhook_message(topic, raw, "m").jobs:
            redemption = redemption_of(topic, job.params["reward"], raw)
            assert redemption is not None
            assert f"`{redemption.rule_id}`" in PAGE
