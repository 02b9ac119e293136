"""The Platform's news on the store's customer: tier and points."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from platform_relay.checks.destinations import check_loyalty_sync
from platform_relay.core import exact_json
from platform_relay.core.outcomes import Blocked, Done, Reject, Retry, Skip, Unknown
from platform_relay.core.reasons import ReasonCode
from platform_relay.platform.webhooks import LOYALTY_TOPICS, parse_webhook
from platform_relay.stores.loyalty_sync import LoyaltyStatus, SyncsLoyalty, fields_to_write, loyalty_status
from tests.contract.bench import Bench

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SHOPS = ["bigcommerce", "medusa", "saleor", "shopify", "woocommerce"]
ID = {"medusa": "cus_4711", "saleor": "VXNlcjo0NzEx"}
NO_MESSAGE = {"medusa": "cus_nobody", "saleor": "VXNlcjo5OTk5OTk="}
"""Ids where they are no numbers: 4711, and 999999 for one whom the store does not know."""
WRITES = {"saleor": "SetLoyaltyFields", "shopify": "metafieldsSet"}
OTHERS: dict[str, dict[str, Any]] = {
    "bigcommerce": {
        "customers": [{"id": 4711, "date_modified": "2026-11-23T09:00:00Z"}],
        "attributes": [{"id": 7, "name": "newsletter", "type": "string"}],
        "values": [{"attribute_id": 7, "customer_id": 4711, "value": "weekly"}],
    },
    "medusa": {"customers": [{"id": "cus_4711", "metadata": {"newsletter": "weekly"}}]},
    "saleor": {"customers": [{"id": "VXNlcjo0NzEx", "privateMetafields": {"newsletter": "weekly"}}]},
    "shopify": {
        "customers": [
            {
                "id": "gid://shopify/Customer/4711",
                "metafields": [{"namespace": "custom", "key": "newsletter", "value": "weekly"}],
            }
        ]
    },
    "woocommerce": {"customers": [{"id": 4711, "meta_data": [{"id": 1, "key": "newsletter", "value": "weekly"}]}]},
}
"""A customer with something of somebody else's on her, as each store keeps her."""
every_shop = pytest.mark.parametrize("bench", SHOPS, indirect=True)


def news(bench: Bench, points: int = 120, tier: str | None = "Gold", at: str = "10:00", **other: Any) -> dict[str, Any]:
    """A `points/earned`, changed by fields of the customer."""
    customer = {
        "externalId": ID.get(bench.name, "4711"),
        "pointBalance": points,
        "updatedAt": f"2024-11-23T{at}:00.000Z",
    }
    if tier is not None:
        customer["currentLoyaltyTier"] = {"id": "t-1", "title": tier}
    return {"id": "e-1", "points": 5, "customer": {**customer, **other}}


async def tell(bench: Bench, body: dict[str, Any]) -> Any:
    assert isinstance(bench.adapter, SyncsLoyalty)
    return await bench.adapter.sync_loyalty("m-1", "points/earned", body)


def seed(bench: Bench) -> None:
    bench.simulator.control("seed", **OTHERS[bench.name])


def kept(bench: Bench) -> dict[str, Any]:
    """What the customer has, by key."""
    state = bench.simulator.state
    if bench.name == "woocommerce":
        return {
            row["key"].removeprefix("_platform_relay_"): row["value"] for row in state("customers")["4711"]["meta_data"]
        }
    if bench.name == "shopify":
        return {row["key"]: row["value"] for row in state("customers")[0]["metafields"]}
    if bench.name == "bigcommerce":
        names = {row["id"]: row["name"] for row in state("attributes")}
        found = {names[row["attribute_id"]]: row["value"] for row in state("values") if row["customer_id"] == 4711}
    else:
        found = state("customers")[0]["metadata" if bench.name == "medusa" else "privateMetafields"]
    return {key.removeprefix("platform_relay_"): value for key, value in found.items()}


def writes(bench: Bench) -> int:
    return len(bench.simulator.ledger(kind=WRITES.get(bench.name, "customer.update")))


@every_shop
async def test_tier_and_points_stand_on_the_customer_and_what_others_keep_there_stays(bench: Bench) -> None:
    seed(bench)
    assert await tell(bench, news(bench)) == Done()
    assert await tell(bench, news(bench, points=150, tier=None, at="11:00")) == Done()
    as_of = "2024-11-23T11:00:00+00:00"
    assert kept(bench) == {"newsletter": "weekly", "tier": "Gold", "points": "150", "as_of": as_of}


@every_shop
async def test_the_same_again_changes_nothing_in_the_shop(bench: Bench) -> None:
    """A change of the customer is news of the store, which the Platform would tell again, and so on without end."""
    seed(bench)
    await tell(bench, news(bench))
    for later in ("10:00", "10:05"):
        outcome = await tell(bench, news(bench, at=later))
        assert isinstance(outcome, Skip)
        assert outcome.reason.code is ReasonCode.UNCHANGED
    assert writes(bench) == 1


@every_shop
async def test_older_news_never_replaces_newer(bench: Bench) -> None:
    seed(bench)
    await tell(bench, news(bench, points=150, at="11:00"))
    outcome = await tell(bench, news(bench, points=120, at="10:00"))
    assert isinstance(outcome, Skip)
    assert outcome.reason.code is ReasonCode.NEWER_VERSION
    assert outcome.reason.facts["newer"] == "2024-11-23T11:00:00+00:00"
    assert kept(bench)["points"] == "150"


@every_shop
async def test_a_customer_whom_the_shop_does_not_know(bench: Bench) -> None:
    outcome = await tell(bench, news(bench, externalId=NO_MESSAGE.get(bench.name, "999999")))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.ENTITY_NOT_FOUND
    assert outcome.reason.facts["entity"] == "customer"
    assert isinstance(await tell(bench, news(bench, externalId="")), Skip)
    assert writes(bench) == 0


@every_shop
@pytest.mark.parametrize(("status", "meaning"), [(429, Retry), (503, (Retry, Unknown)), (401, Blocked)])
async def test_a_shop_that_is_away(bench: Bench, status: int, meaning: Any) -> None:
    seed(bench)
    bench.simulator.script(status=status, body="")
    assert isinstance(await tell(bench, news(bench)), meaning)
    assert await tell(bench, news(bench)) == Done()


WRITE = {
    "bigcommerce": ("PUT", "^/stores/abc123/v3/customers/attribute-values$"),
    "saleor": ("POST", "^/graphql/SetLoyaltyFields$"),
    "woocommerce": ("PUT", "^/wp-json/wc/v3/customers/4711$"),
}


@pytest.mark.parametrize("bench", sorted(WRITE), indirect=True)
async def test_an_answer_that_was_lost(bench: Bench) -> None:
    seed(bench)
    bench.misbehave(WRITE[bench.name], mode="apply_then", status=200, body="<b>Warning</b>")
    assert isinstance(await tell(bench, news(bench)), Unknown)
    assert isinstance(await tell(bench, news(bench)), Skip)
    assert kept(bench)["points"] == "120"


WITHOUT: dict[str, dict[str, Any]] = {
    "bigcommerce": {"data": []},
    "saleor": {"data": {"updatePrivateMetadata": {"item": {"privateMetafields": {}}, "errors": []}}},
    "woocommerce": {"id": 4711, "meta_data": []},
}


@pytest.mark.parametrize("bench", sorted(WRITE), indirect=True)
async def test_an_answer_that_does_not_show_what_was_changed(bench: Bench) -> None:
    seed(bench)
    bench.misbehave(WRITE[bench.name], status=200, body=WITHOUT[bench.name])
    assert isinstance(await tell(bench, news(bench)), Unknown)
    assert await tell(bench, news(bench)) == Done()


@pytest.mark.parametrize("bench", ["woocommerce"], indirect=True)
async def test_an_account_that_the_key_may_not_change_stops_no_coupon(bench: Bench) -> None:
    """Blocked would pause the destination, coupons and all."""
    seed(bench)
    denied = {"code": "woocommerce_rest_cannot_edit", "message": "Sorry, you are not allowed to edit this resource."}
    bench.misbehave(("PUT", "^/wp-json/wc/v3/customers/4711$"), status=403, body=denied)
    outcome = await tell(bench, news(bench))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.PERMISSION_MISSING
    assert "administrator" in outcome.reason.next_step


@pytest.mark.parametrize("bench", ["shopify"], indirect=True)
async def test_a_permission_that_only_news_needs_stops_no_coupon(bench: Bench) -> None:
    seed(bench)
    bench.simulator.config(scopes=["write_discounts", "read_discounts", "read_customers"])
    outcome = await tell(bench, news(bench))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.PERMISSION_MISSING
    assert "write_customers" in str(outcome.reason.facts["response"])
    assert kept(bench) == {"newsletter": "weekly"}


@pytest.mark.parametrize("bench", ["medusa"], indirect=True)
async def test_medusas_roles_stop_no_coupon(bench: Bench) -> None:
    seed(bench)
    bench.simulator.config(read_only=True)
    outcome = await tell(bench, news(bench))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.PERMISSION_MISSING
    assert kept(bench) == {"newsletter": "weekly"}


@pytest.mark.parametrize("bench", ["bigcommerce"], indirect=True)
async def test_a_scope_of_bigcommerce_that_only_news_needs_stops_no_coupon(bench: Bench) -> None:
    seed(bench)
    bench.simulator.config(permissions=["Customers read-only"])
    outcome = await tell(bench, news(bench))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.PERMISSION_MISSING
    assert outcome.reason.facts["permission"] == "Customers modify"
    assert kept(bench) == {"newsletter": "weekly"}


@pytest.mark.parametrize("bench", ["saleor"], indirect=True)
async def test_saleors_permissions_stop_no_coupon_and_its_token_does(bench: Bench) -> None:
    """Saleor has the same words for both."""
    seed(bench)
    bench.simulator.config(permissions=["MANAGE_DISCOUNTS"])
    assert isinstance(await tell(bench, news(bench)), Reject)
    bench.simulator.config(permissions=["MANAGE_DISCOUNTS", "MANAGE_USERS"], token="of somebody else")
    assert isinstance(await tell(bench, news(bench)), Blocked)
    bench.simulator.config(token="saleor-app-token")
    staff = {**OTHERS["saleor"]["customers"][0], "isStaff": True}
    bench.simulator.control("seed", customers=[staff])
    outcome = await tell(bench, news(bench))
    assert isinstance(outcome, Reject)
    assert outcome.reason.code is ReasonCode.PERMISSION_MISSING
    assert "MANAGE_STAFF" in str(outcome.reason.facts["response"])
    assert kept(bench) == {"newsletter": "weekly"}


@pytest.mark.parametrize("bench", ["bigcommerce"], indirect=True)
async def test_bigcommerces_attributes_are_made_once(bench: Bench) -> None:
    seed(bench)
    first, second = bench.build(), bench.build()
    assert isinstance(first, SyncsLoyalty)
    assert isinstance(second, SyncsLoyalty)
    report = await asyncio.gather(*(each.sync_loyalty("m-1", "points/earned", news(bench)) for each in (first, second)))
    assert all(isinstance(outcome, Done | Skip) for outcome in report), report
    names = [row["name"] for row in bench.simulator.state("attributes")]
    assert sorted(names) == ["newsletter", "platform_relay_as_of", "platform_relay_points", "platform_relay_tier"]
    assert kept(bench)["points"] == "120"


@pytest.mark.parametrize("bench", ["bigcommerce"], indirect=True)
async def test_an_attribute_that_the_merchant_deleted_is_made_again(bench: Bench) -> None:
    seed(bench)
    await tell(bench, news(bench))
    bench.simulator.control("drop-attributes")
    assert isinstance(await tell(bench, news(bench, points=150, at="11:00")), Reject)
    assert await tell(bench, news(bench, points=150, at="11:00")) == Done()
    assert kept(bench)["points"] == "150"


@pytest.mark.parametrize("bench", ["shopify"], indirect=True)
async def test_what_shopify_refuses_inside_a_200(bench: Bench) -> None:
    seed(bench)
    refused = {"metafields": None, "userErrors": [{"field": ["value"], "message": "is too long", "code": "TOO_LONG"}]}
    for result, meaning in ((refused, Reject), ({"userErrors": []}, Unknown)):
        bench.misbehave(
            ("POST", "^/admin/api/2026-07/graphql.json/SetLoyaltyFields$"),
            status=200,
            body={"data": {"result": result}},
        )
        assert isinstance(await tell(bench, news(bench)), meaning)
    bench.simulator.config(throttled=1)
    assert isinstance(await tell(bench, news(bench)), Retry)
    assert await tell(bench, news(bench)) == Done()


async def test_check_says_where_news_is_on_in_vain(bench: Bench) -> None:
    check = await check_loyalty_sync(bench.name, bench.adapter)
    takes = bench.name in (*SHOPS, "generic_http")
    assert check.ok is takes
    assert bool(check.next_step) is not takes
    assert bench.name in check.detail


@pytest.mark.parametrize("balance", [12, 12.0, "12", -3, 0, 12.5, True, None, "many", 10**40])
@pytest.mark.parametrize("topic", LOYALTY_TOPICS)
def test_the_names_are_those_of_the_webhooks(topic: str, balance: Any) -> None:
    customer: dict[str, Any] = {"externalId": 7, "pointBalance": balance, "currentLoyaltyTier": {"title": " Gold "}}
    body: dict[str, Any] = customer if topic == "customers/updated" else {"customer": customer}
    read = parse_webhook(topic, json.dumps(body).encode())
    assert read is not None
    assert read.customer is not None
    exact: Any = exact_json.loads(json.dumps(body).encode())
    assert loyalty_status(topic, exact) == LoyaltyStatus(
        str(read.customer.external_id), read.customer.tier, read.customer.point_balance, None
    )


def test_a_new_tier_counts_before_the_customers() -> None:
    body: dict[str, Any] = {
        "customer": {"externalId": "7", "currentLoyaltyTier": {"title": "Silver"}},
        "newTier": {"title": "Gold"},
    }
    assert loyalty_status("customers/tier_changed", body) == LoyaltyStatus("7", "Gold", None, None)


@pytest.mark.parametrize("customer", [None, [], {}, {"externalId": None}, {"externalId": "7", "pointBalance": "many"}])
def test_what_tells_nothing_is_skipped(customer: Any) -> None:
    assert isinstance(loyalty_status("points/earned", {"customer": customer}), Skip)


def test_what_the_news_does_not_tell_is_left_as_it_is() -> None:
    assert fields_to_write(LoyaltyStatus("7", None, 5, None), {"tier": "Gold", "points": "4"}, NOON) == {"points": "5"}


@pytest.mark.parametrize(("shown", "writes"), [("2026-11-23T11:59:00Z", False), ("2026-11-24T11:59:00Z", False),
                                               ("2026-11-24T12:00:00Z", True), ("9999-12-31T23:59:59Z", True)])  # fmt: skip
def test_what_claims_to_be_of_a_time_to_come_is_written_over(shown: str, writes: bool) -> None:
    report = fields_to_write(
        LoyaltyStatus("7", "Gold", 5, NOON - timedelta(hours=1)), {"tier": "Diamond", "as_of": shown}, NOON
    )
    assert isinstance(report, dict) is writes


@pytest.mark.parametrize("bench", ["medusa"], indirect=True)
async def test_a_tier_that_the_shopper_wrote_does_not_stay(bench: Bench) -> None:
    """Medusa's customers may change their own metadata."""
    forged = {"tier": "Diamond", "points": "1000000", "as_of": "9999-12-31T00:00:00+00:00"}
    metadata = {f"platform_relay_{name}": value for name, value in forged.items()}
    bench.simulator.control("seed", customers=[{"id": ID["medusa"], "metadata": metadata}])
    assert await tell(bench, news(bench)) == Done()
    assert (kept(bench)["tier"], kept(bench)["points"]) == ("Gold", "120")
