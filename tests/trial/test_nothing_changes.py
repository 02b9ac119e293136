"""No path changes anything in the trial: every adapter, job kind, operator's action and command, with the simulators as oracle.

Each list is complete, or the test that compares it with the code fails: a new adapter, kind or action has to be added here.
"""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from pydantic import JsonValue
from sqlalchemy import text
from typer.testing import CliRunner

from platform_relay import wiring
from platform_relay.cli.program import cli
from platform_relay.core.errors import WrongState
from platform_relay.core.http import HttpClients
from platform_relay.core.outcomes import Blocked, JobSpec
from platform_relay.core.reasons import Reason, ReasonCode, because
from platform_relay.coupons import drift_check
from platform_relay.coupons.actions import ActionNotPossibleError, CouponActions
from platform_relay.coupons.transitions import Coupons
from platform_relay.inbox.events import EventKind
from platform_relay.inbox.messages import JobKind
from platform_relay.jobs.actions import DeadJobs, OperatorActions
from platform_relay.periodic_tasks import periodic_tasks
from platform_relay.platform.client import PlatformClient
from platform_relay.platform.rules import RewardKind
from platform_relay.platform.webhooks import POINTS_REDEEMED, parse_webhook
from platform_relay.queue.queue import NewJob, enqueue
from platform_relay.reconcile import compare
from platform_relay.reconcile.difference_list import Selection
from platform_relay.reconcile.runs import Reconciliations
from platform_relay.reconcile.values import ValueReader
from platform_relay.stores import ADAPTERS, adapter_class
from platform_relay.stores.base import RemovesRemainders, StoreCoupon
from platform_relay.stores.loyalty_sync import ChecksLoyaltySync, SyncsLoyalty
from platform_relay.stores.native import FetchesEntities, ListsEntities, SetsUpWebhooks, StoreWebhook
from tests.contract.bench import CODE, SHOPS, Bench, order
from tests.trial.conftest import Relay, Start
from tests.trial.test_trial import CUSTOMER, ORDER, PRODUCT, redeemed

READING_POSTS: dict[str, set[str]] = {
    "generic_http": {"/relay/coupons/lookup"},
    "magento": {"/rest/V1/integration/admin/token", "/rest/V1/tfa/provider/google/authenticate"},
    "saleor": {"/graphql/"},
    "shopify": {"/admin/oauth/access_token", "/admin/api/2026-07/graphql.json"},
    "vendure": {"/admin-api"},
}
"""The calls of an adapter that are no GET and change nothing."""


class InTrial:
    """A write guard that refuses."""

    async def refusal(self) -> Reason:
        return because(ReasonCode.TRIAL_RUNS)


@pytest.fixture(params=sorted(ADAPTERS))
async def bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, shop_process: Any) -> Any:
    bench = Bench(request.param, shop_process, monkeypatch)
    yield bench
    await bench.aclose()


def is_refused(outcome: object) -> bool:
    return isinstance(outcome, Blocked) and outcome.reason.code is ReasonCode.TRIAL_RUNS


def mutates(body: object) -> bool:
    """Whether a GraphQL request holds a mutation other than a login."""
    document = str(body.get("query", "")) if isinstance(body, dict) else ""
    return "mutation" in document and "mutation Login" not in document


async def test_no_adapter_changes_a_store(bench: Bench) -> None:
    assert set(SHOPS) == set(ADAPTERS)
    bench.set("WEBHOOK_SECRET", "webhook-secret-of-the-test")
    guarded: object = adapter_class(bench.name).from_environment(HttpClients(5.0, write_guard=InTrial()))
    adapter: Any = guarded
    try:
        assert is_refused(await adapter.issue_coupon(order()))
        assert is_refused(await adapter.issue_coupon(order(first_try=True)))
        await adapter.retire_coupon(CODE)  # Done where the store has no such coupon
        await adapter.check()
        assert await adapter.find_coupon(CODE) is None
        if isinstance(guarded, RemovesRemainders):
            await guarded.remove_remainder(CODE)
        if isinstance(guarded, SyncsLoyalty):
            body: dict[str, JsonValue] = {
                "customer": {"externalId": "42", "email": "jane@example.com", "pointBalance": 5}
            }
            await guarded.sync_loyalty("message", "customers/updated", body)
        if isinstance(guarded, ChecksLoyaltySync):
            await guarded.check_loyalty_sync()
        if isinstance(guarded, SetsUpWebhooks):
            topic = next(iter(guarded.webhook_topics()))
            assert is_refused(await guarded.create_webhook(topic, "https://relay.example/hook"))
            webhook = StoreWebhook("7", topic, "https://relay.example/hook", False)
            assert is_refused(await guarded.enable_webhook(webhook))
            assert is_refused(await guarded.delete_webhook(webhook))
        if isinstance(guarded, ListsEntities):
            for kind in EventKind:
                await guarded.list_entities(kind, None, None)
        if isinstance(guarded, FetchesEntities):
            for kind in EventKind:
                await guarded.fetch(kind, "7")
    finally:
        await adapter.aclose()
    calls = bench.simulator.ledger()
    others = [call for call in calls if call["method"] != "GET"]
    known = READING_POSTS.get(bench.name, set())
    assert [call["path"] for call in others if not any(call["path"].startswith(path) for path in known)] == []
    assert [call for call in others if mutates(call.get("body"))] == []
    assert bench.made() == 0


async def test_a_coupon_in_the_store_is_not_retired_or_changed(bench: Bench) -> None:
    await bench.adapter.issue_coupon(order())
    guarded = adapter_class(bench.name).from_environment(HttpClients(5.0, write_guard=InTrial()))
    try:
        assert is_refused(await guarded.retire_coupon(CODE))
        assert not is_refused(await guarded.issue_coupon(order()))  # it has it: nothing to create
        await guarded.issue_coupon(order(value=Decimal(7)))
        assert isinstance(await guarded.find_coupon(CODE), StoreCoupon)
        assert await bench.usable()
    finally:
        await guarded.aclose()


async def test_the_platform_gets_only_reads(start: Start) -> None:
    reads = {"get_customer", "find_customer", "list_customers", "redeem_rules", "store_currency", "find_reward"}
    arguments: dict[str, tuple[Any, ...]] = {
        "put_customer": ("42", b"{}"), "return_points": ("42", 5, "why"), "create_order": (b"{}",),
        "update_order": ("1001", b"{}"), "put_product": ("7", b"{}"), "put_variants": ("7", b"[]"), "use_reward": (CODE,),
    }  # fmt: skip
    methods = {name for name, _ in inspect.getmembers(PlatformClient, inspect.iscoroutinefunction) if name[0] != "_"}
    assert methods == reads | set(arguments), "a new call of the Platform"
    async with start(work=False) as relay:
        for name, given in arguments.items():
            assert is_refused(await getattr(relay.clients.platform, name)(*given)), name
        assert relay.calls() == []


BODIES: Mapping[JobKind, tuple[str, dict[str, str]]] = {
    JobKind.FORWARD_CUSTOMER: ("customer:42", {}),
    JobKind.FORWARD_ORDER: ("order:1001", {}),
    JobKind.FORWARD_PRODUCT: ("product:7", {}),
    JobKind.USE_REWARD: ("coupon:X", {"code": "X", "order": "1001"}),
    JobKind.FETCH_ENTITY: ("fetch:orders:12", {"kind": "orders", "id": "12"}),
    JobKind.ISSUE_COUPON: ("coupon:X#1", {"code": "X", "topic": POINTS_REDEEMED, "reward": ""}),
    JobKind.RETIRE_COUPON: ("coupon:X", {"code": "X", "by": "ada", "why": "why"}),
    JobKind.RETURN_POINTS: ("points:X", {"code": "X", "points": "5"}),
    JobKind.SYNC_LOYALTY: ("loyalty:42", {"topic": "customers/updated"}),
}


@pytest.mark.parametrize("adapter", ["woocommerce", "generic_http"])
async def test_every_kind_of_job_ends_skipped(start: Start, adapter: str) -> None:
    assert set(BODIES) == set(JobKind)
    destinations = {JobKind.ISSUE_COUPON: "store", JobKind.RETIRE_COUPON: "store", JobKind.FETCH_ENTITY: "store",
                    JobKind.SYNC_LOYALTY: "store_loyalty"}  # fmt: skip
    async with start(adapter=adapter) as relay:
        receipt = await relay.send(CUSTOMER)
        async with relay.engine.begin() as connection:
            specs = [
                JobSpec(kind, destinations.get(kind, "platform"), lane, params)
                for kind, (lane, params) in BODIES.items()
            ]
            await enqueue(connection, [NewJob(receipt.id, spec) for spec in specs])
        for wake in relay.parts.on_work:
            wake("")
        await relay.idle()
        ended = await relay.rows("SELECT DISTINCT kind, state, reason_code FROM job WHERE kind <> 'fetch_entity'")
        assert sorted(ended) == sorted(
            (kind, "skipped", "shadow") for kind in JobKind if kind is not JobKind.FETCH_ENTITY
        )
        assert await relay.rows("SELECT * FROM entity WHERE exists_remotely OR version IS NOT NULL") == []
        assert relay.calls() == []


async def coupon(relay: Relay, code: str, *states: str) -> None:
    """A coupon of an earlier time, which a trial itself would not have."""
    body = redeemed(relay.platform, code)
    receipt = await relay.webhook(POINTS_REDEEMED, body)
    webhook = parse_webhook(POINTS_REDEEMED, body, relay.clients.platform.fields)
    assert webhook is not None
    [(_, redemption)] = webhook.redemptions
    coupons = Coupons(relay.engine)
    await coupons.open(redemption, receipt.id)
    for state in states:
        match state:
            case "held":
                await coupons.hold(code, because(ReasonCode.NO_VALUE, rule="7"))
            case "active":
                await coupons.activate(code, "1")
            case _:
                await coupons.retire(code, because(ReasonCode.COUPON_RETIRED, by="ada"))


async def dead_job(relay: Relay) -> UUID:
    receipt = await relay.send(CUSTOMER)
    await relay.idle()
    async with relay.engine.begin() as connection:
        statement = text("UPDATE job SET state = 'dead', disposition = 'rejected' WHERE message_id = :id RETURNING id")
        job: UUID = (await connection.execute(statement, {"id": receipt.id})).scalar_one()
    return job


async def test_no_action_of_an_operator_changes_anything(start: Start) -> None:
    async with start() as relay:
        job = await dead_job(relay)
        jobs, coupons = (
            relay.parts.actions,
            CouponActions(relay.engine, relay.parts.actions, relay.parts.settings.coupons),
        )
        for code in ("APPROVE", "VALUE"):
            await coupon(relay, code, "held")
        await coupon(relay, "RETIRE", "active")
        await coupon(relay, "RETURN", "active", "retired")
        await relay.idle()
        calls: dict[str, Callable[[], Any]] = {
            "retry": lambda: jobs.retry([job], "ada"),
            "retry_matching": lambda: jobs.retry_matching(DeadJobs(), "ada"),
            "send_as_newest": lambda: jobs.send_as_newest(job, "ada", "why"),
            "count_matching": lambda: jobs.count_matching(DeadJobs()),
            "drop": lambda: jobs.drop([job], "ada", "why"),
            "wake": lambda: jobs.wake(["reward-rule:7"]),
            "wake_held": lambda: jobs.wake_held("reward-rule:7", "ada"),
            "pause": lambda: jobs.pause("platform", "why", "ada"),
            "resume": lambda: jobs.resume("platform", "ada"),
            "approve": lambda: coupons.approve("APPROVE", "ada", "why"),
            "set_value": lambda: coupons.set_value("VALUE", RewardKind.FIXED_AMOUNT, Decimal(5), "ada", "why"),
            "retire": lambda: coupons.retire("RETIRE", "ada", "why"),
            "return_points": lambda: coupons.return_points("RETURN", "ada", "why", 5),
            "dismiss": lambda: coupons.dismiss("RETIRE", "ada", "why"),
            "release_limit": lambda: coupons.release_limit("ada", "why"),
        }
        public = {
            name
            for actions in (OperatorActions, CouponActions)
            for name, _ in inspect.getmembers(actions, inspect.iscoroutinefunction)
            if not name.startswith("_")
        }
        assert public == set(calls), "a new action of an operator"
        for name, call in calls.items():
            with suppress(ActionNotPossibleError) if name == "return_points" else nullcontext():
                await call()  # return_points: no operator has retired the coupon
            await relay.idle()
        assert relay.calls() == []
        assert await relay.rows("SELECT kind FROM job WHERE state NOT IN ('skipped', 'dropped', 'dead')") == []


async def test_tasks_and_repairs_of_the_worker_only_read(start: Start) -> None:
    async with start() as relay:
        for event in (CUSTOMER, ORDER, PRODUCT):
            await relay.send(event)
        await coupon(relay, "RETIRE", "active")
        await relay.idle()
        for task in periodic_tasks(relay.parts, relay.clients):
            await task.run_once()
        systems = wiring.compared_systems(relay.parts, relay.clients)
        assert systems is not None
        runs = Reconciliations(relay.engine)
        request = await runs.claim(await runs.request("ada", None, timedelta(0)))
        assert request is not None
        compared = await compare.reconcile(relay.engine, systems, request)
        repairer = wiring.repairer(relay.parts)
        preview = await repairer.preview(compared.id)
        assert preview is not None
        assert "trial" in str(preview.refusal)
        with pytest.raises(WrongState, match="trial"):
            await repairer.repair(compared.id, "ada")
        with pytest.raises(WrongState, match="trial"):
            await repairer.repair_chunk(compared.id, "ada", Selection(), ("", ""))
        assert await relay.rows("SELECT * FROM difference WHERE repair IS NOT NULL") == []
        fields = relay.clients.platform.fields
        reader = ValueReader(relay.engine, relay.parts.store, "woocommerce", relay.clients.platform, fields)
        for kind in EventKind:
            await reader.read(kind, "42")
        assert await runs.cancel(await runs.request("ada", None), "ada")
        assert relay.parts.store is not None
        await drift_check.check_drift(relay.engine, relay.parts.store, since=timedelta(0))
        await relay.idle()
        assert relay.calls() == []
        assert await relay.rows("SELECT * FROM entity WHERE exists_remotely") == []


@pytest.mark.parametrize(
    "words",
    [
        ("webhooks", "install"),
        ("webhooks", "install", "--remove"),
        ("check",),
        ("backfill", "customers"),
        ("poll",),
        ("coupons", "check-drift"),
        ("reconcile", "--repair"),
        ("reconciliations", "list"),
    ],
)
async def test_commands_only_read(start: Start, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    """The command's own MODE is live, as it is just before the switch: the database decides."""
    async with start(work=False) as relay:
        settings = relay.parts.settings
        assert settings.database_url is not None
        monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
        monkeypatch.setenv("STORE__ADAPTER", "woocommerce")
        monkeypatch.setenv("WOOCOMMERCE__WEBHOOK_SECRET", "webhook-secret-of-the-test")
        monkeypatch.setenv("PUBLIC_URL", "https://relay.example")
        monkeypatch.setenv("PLATFORM__URL", relay.platform.url)
        monkeypatch.setenv("PLATFORM__LAUNCHER_URL", relay.platform.url)
        monkeypatch.setenv("PLATFORM__API_KEY", "sim-platform-key")
        result = await asyncio.to_thread(CliRunner().invoke, cli, list(words))
        assert relay.calls() == [], result.output
        if words[0] == "webhooks":
            assert "trial" in result.output
