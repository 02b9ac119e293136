"""`python -m simulators.demo [--once]`: a day in a store, before your eyes.

Starts the Platform simulator, the store simulator and the relay as processes of their own, plays `simulators.day`
against them, waits until everything is delivered, prints what became of it, and stays up until Ctrl-C. With `--once` it
ends by itself: exit code 0 only if everything arrived, and a JSON object as the last line.

With --relay-url, --platform-url and --shop-url it plays against what runs already; the keys come from the environment
(STORE_KEY, OPERATOR_KEY, PLATFORM__WEBHOOK_SECRET). DATABASE_URL: the relay's database, else an embedded one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx
from rich.console import Console
from rich.markup import escape

from . import report
from .call import Json
from .day import a_day
from .feed import LOOK, Acknowledged, Control, Feed, FeedError, Relay
from .process import SimulatorError
from .scene import Scene, given_scene, own_scene

DELIVERY_SECONDS: Final = 60.0
"""How long everything may take to arrive after the day is over."""
SETTLE_SECONDS: Final = 3.0
"""How long the relay's books have to say "nothing waits" before what is missing counts as lost."""
MOST_SHOWN: Final = 40
T = TypeVar("T")
OPEN: Final = ("waiting", "running", "unknown")


# ------------------------------------------------------------------------------------------------------ the day


@dataclass
class Result:
    """What is printed at the end: acknowledged by the relay, its own books' change, the ledgers, the verdict."""

    acknowledged: Acknowledged
    books: dict[str, int]
    platform: list[Json]
    coupons: list[Json]
    verdict: report.Verdict

    def line(self) -> dict[str, int]:
        """The numbers of the last line. `delivered`, `waiting` and `dead` are the relay's word (jobs), `accepted` what
        it acknowledged, the others what the simulators saw."""
        return {
            "accepted": self.acknowledged.messages,
            "delivered": self.books["delivered"],
            "retried": report.retried(self.platform),
            "coupons_active": self.verdict.coupons_active,
            "waiting": sum(self.books[state] for state in OPEN),
            "dead": self.books["dead"],
            "lost": self.verdict.lost_count,
            "duplicated": self.verdict.duplicated_count,
        }

    def problems(self) -> list[str]:
        """All that is not as it should be, in words."""
        found = [*self.acknowledged.problems]
        for what, rows in (("lost", self.verdict.lost), ("duplicated", self.verdict.duplicated)):
            found += [f"{what}: {text}" for texts in rows.values() for text in texts]
        return found + [f"{state}: {self.line()[state]} jobs" for state in ("waiting", "dead") if self.line()[state]]


class Demo:
    """One playing, with its progress on the console."""

    def __init__(self, scene: Scene, seed: int, console: Console, clients: list[httpx.AsyncClient]) -> None:
        self._console = console
        self._began = time.monotonic()
        self.relay = Relay(clients[0], scene.store_key, scene.operator_key)
        self.platform, self.shop = Control(clients[1]), Control(clients[2])
        self._scene = scene
        self.feed = Feed(a_day(seed), self.relay, self.platform, self.shop, self.say)

    def say(self, line: str) -> None:
        """A line with the seconds since the start."""
        self._console.print(
            f"[dim]{time.monotonic() - self._began:5.1f} s[/dim]  {escape(line)}", highlight=False, soft_wrap=True
        )

    async def play(self) -> Result:
        """The whole day until everything arrived or time is up. Raises FeedError."""
        before = (await self.relay.counts())["total"]
        seq = (await self.platform.see("ledger", limit=1, body=0))["last_seq"]
        sent = len((await self.platform.see("webhooks"))["webhooks"])
        old = {coupon["id"] for coupon in await self.shop.see("state", kind="coupons")}
        await self.platform.do("config", webhook_url=self._scene.webhook_url)
        with self._console.status("") as status:
            ticker = asyncio.create_task(self._tick(status.update, before))
            try:
                await self.feed.play()
                self.say("the day is over; waiting until everything has arrived")
                return await self._settled(before, seq, sent, old)
            finally:
                ticker.cancel()

    async def _settled(self, before: dict[str, int], seq: int, sent: int, old: set[int]) -> Result:
        """The result, once nothing waits and nothing is missing, or after DELIVERY_SECONDS, or SETTLE_SECONDS after
        nothing waited any more."""
        deadline, quiet_since = time.monotonic() + DELIVERY_SECONDS, None
        while True:
            books = await self._books(before)
            webhooks = (await self.platform.see("webhooks", since=sent))["webhooks"]
            entries = (await self.platform.see("ledger", since=seq))["entries"]
            coupons = [c for c in await self.shop.see("state", kind="coupons") if c["id"] not in old]
            acknowledged = self.feed.acknowledged
            acknowledged.webhooks = sum(webhook["delivered"] for webhook in webhooks)
            result = Result(acknowledged, books, entries, coupons, report.judge(acknowledged, entries, coupons))
            now = time.monotonic()
            quiet = not any(books[state] for state in OPEN)
            quiet_since = (quiet_since or now) if quiet else None
            if quiet and all(webhook["delivered"] for webhook in webhooks) and not result.verdict.lost_count:
                return result
            if now > deadline or (quiet_since and now - quiet_since > SETTLE_SECONDS):
                late = [webhook for webhook in webhooks if not webhook["delivered"]]
                acknowledged.problems += [
                    f"webhook {w['topic']} was not acknowledged: {w['attempts'][-1:]}" for w in late
                ]
                return result
            await asyncio.sleep(LOOK)

    async def _books(self, before: dict[str, int]) -> dict[str, int]:
        total = (await self.relay.counts())["total"]
        return {state: count - before.get(state, 0) for state, count in total.items()}

    async def _tick(self, update: object, before: dict[str, int]) -> None:
        if not self._console.is_terminal or not callable(update):
            return
        while True:
            with contextlib.suppress(FeedError):
                books = await self._books(before)
                pending = sum(books[state] for state in OPEN)
                update(
                    f"acknowledged {self.feed.acknowledged.messages}  delivered {books['delivered']}  on the way {pending}"
                )
            await asyncio.sleep(0.25)


async def play(scene: Scene, seed: int, once: bool, console: Console) -> tuple[bool, list[str]]:
    """Play the day and print the result, with `once` as JSON too. Whether everything arrived, and the codes of the coupons."""
    async with contextlib.AsyncExitStack() as stack:
        urls = (scene.relay, scene.platform, scene.shop)
        clients = [httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) for url in urls]
        for client in clients:
            await stack.enter_async_context(client)
        demo = Demo(scene, seed, console, clients)
        result = await unless_ended(scene, demo.play())
    console.print(report.table(result.acknowledged, result.platform, result.coupons, result.verdict))
    observed = ", ".join(f"{count} {state}" for state, count in result.books.items() if count and state != "received")
    console.print(f"The relay counts {result.books['received']} jobs: {observed}.", highlight=False)
    if result.acknowledged.recognised:
        console.print(f"{result.acknowledged.recognised} events were reported twice, and recognised.", highlight=False)
    problems = result.problems()
    for problem in problems[:MOST_SHOWN]:
        console.print(f"[red]✗[/red] {escape(problem)}", highlight=False, soft_wrap=True)
    if len(problems) > MOST_SHOWN:
        console.print(f"… and {len(problems) - MOST_SHOWN} more")
    if problems and scene.log:
        console.print(f"The relay's log: {scene.log}", highlight=False, soft_wrap=True)
    if once:
        print(json.dumps(result.line()), flush=True)  # noqa: T201  # the last line is for programs
    return not problems, sorted(result.acknowledged.coupons)


async def unless_ended(scene: Scene, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives. Raises FeedError as soon as the relay that was started here is no more."""

    async def watch() -> None:
        while scene.process is None or scene.process.poll() is None:  # noqa: ASYNC110  # a process sets no event
            await asyncio.sleep(LOOK)

    tasks = asyncio.create_task(work), asyncio.create_task(watch())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done() and scene.process is not None:
            raise FeedError(f"the relay ended by itself with {scene.process.returncode}; its log: {scene.log}")
        return await tasks[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _addresses(scene: Scene, codes: list[str], console: Console) -> None:
    """Print what to look at next: the console first, with a link that signs in, then the story of each redemption."""
    key = f"-H 'Authorization: Bearer {scene.operator_key}'"
    lines = (
        ("Console", f"{_sign_in_link(scene)}\n  {'':<22} (signs you in once, within 10 minutes)"),
        ("API docs", f"{scene.relay}/docs   {scene.relay}/redoc"),
        *((f"Coupon {code}", f"{scene.relay}/console/search?by=coupon&q={quote(code)}") for code in codes),
        ("Job counts", f"curl {key} {scene.relay}/v1/jobs/counts"),
        ("Coupons", f"curl {key} {scene.relay}/v1/coupons"),
        ("Calls at the Platform", f"{scene.platform}/_sim/ledger"),
        ("Coupons in the store", f"{scene.shop}/_sim/state?kind=coupons"),
    )
    for what, where in lines:
        console.print(f"  {escape(f'{what:<22}')} {escape(where)}", highlight=False, soft_wrap=True)
    console.print("Press Ctrl-C to stop.")


def _sign_in_link(scene: Scene) -> str:
    """A one-time link to the console; the address of the console when the relay gives none."""
    headers = {"authorization": f"Bearer {scene.operator_key}"}
    try:
        answer = httpx.post(f"{scene.relay}/v1/sign-in-links", headers=headers, timeout=10, trust_env=False)
    except httpx.TransportError:
        return f"{scene.relay}/console"
    return str(answer.json()["url"]) if answer.is_success else f"{scene.relay}/console"


def main(arguments: list[str] | None = None) -> int:
    """0 when everything arrived, 1 when not or when a part failed, 130 when interrupted before the end."""
    parser = argparse.ArgumentParser(prog="relay demo", description=__doc__.partition("\n")[2])
    parser.add_argument("--once", action="store_true", help="end by itself, with a line of JSON")
    parser.add_argument("--seed", type=int, help="which day; default 1, or a new one where the relay may know that one")
    for name in ("relay", "platform", "shop"):
        parser.add_argument(f"--{name}-url", help="play against this one, which runs already")
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))  # as Ctrl-C: nothing is left running
    given = bool(options.relay_url or options.platform_url or options.shop_url)
    fresh = (
        not given and "DATABASE_URL" not in os.environ
    )  # else a day of before would be recognised, and not sent again
    seed = options.seed or (1 if fresh else int(time.time()))
    console = Console()
    try:
        with given_scene(options) if given else own_scene() as scene:
            where = f"relay {scene.relay}   Platform {scene.platform}   shop {scene.shop}   day {seed}"
            console.print(where, highlight=False, soft_wrap=True)
            return perform(scene, seed, options.once, console)
    except (FeedError, SimulatorError, httpx.HTTPError) as error:
        console.print(f"[red]The demo failed:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130


def perform(scene: Scene, seed: int, once: bool, console: Console) -> int:
    """Play, and unless `once` stay until Ctrl-C. The relay's log goes when all was well. The exit code."""
    keep_log = True
    try:
        well, codes = asyncio.run(play(scene, seed, once, console))
        keep_log = not well
        if not once:
            _addresses(scene, codes, console)
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(unless_ended(scene, asyncio.Event().wait()))
        return 0 if well else 1
    except KeyboardInterrupt:
        keep_log = False
        raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
        if scene.log and not keep_log:
            scene.log.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
