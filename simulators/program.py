"""The ASGI program around a service: it records each call, lets the script interfere, and serves `/_sim/`."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from .call import Call, Json, RefusalError, Response, json_response
from .deliveries import Deliveries
from .ledger import Ledger
from .script import Rule, RuleError, Script
from .wire import Receive, Scope, Send, misbehave, read_body, send_answer

Control = Callable[[Json], Awaitable[object]]


class Service(Protocol):
    """What a simulator has to bring: its settings, its behaviour, its own control routes, its state."""

    once: frozenset[str]
    config: Any
    """A dataclass whose fields `POST /_sim/config` changes by name; its CHOICES name the values some are limited to."""
    controls: dict[str, Control]
    deliveries: Deliveries

    def identify(self, call: Call) -> None:
        """Set the call's kind, entity and handler; leave the handler None when there is no such route."""

    async def answer(self, call: Call) -> Response:
        """Authenticate and handle the call. May raise RefusalError."""

    def summary(self, full: bool) -> Json:
        """Counts of the service's own, added to the ledger's."""

    def state(self, query: dict[str, str]) -> object:
        """What the service holds now: counts, or one entity by `kind` and `id`."""

    def reset(self) -> None:
        """Forget all state; the settings stay."""


class Program:
    """The ASGI application. Everything outside `/_sim/` is the service's, recorded and subject to the script."""

    def __init__(self, service: Service, settings: Json) -> None:
        """`settings` are those of the start, to which a reset with `config` goes back. May raise RuleError."""
        self.service = service
        self._settings = settings
        self.script = Script()
        self.ledger = Ledger(service.once)
        self.record_headers = False
        self.configure(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        body = await read_body(receive)
        if body is None:
            return
        path = scope["raw_path"].decode("latin-1")
        call = Call(scope["method"], path, scope["query_string"], scope["headers"], scope["scheme"], body)
        if call.path.startswith("/_sim/"):
            await send_answer(send, await self._control(call))
            return
        self._record(call)
        if self.script.quiet:
            answer = await self._honest(call)
            self._answered(call, answer.status, "")
            await send_answer(send, answer)
            return
        await self._scripted(call, scope, receive, send)

    def _record(self, call: Call) -> None:
        self.service.identify(call)
        headers = None
        if self.record_headers:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in call.headers}
        call.ledger = self.ledger
        call.entry = self.ledger.received(
            call.method, call.path, call.query_string.decode("latin-1"), call.body, call.kind, call.entity, headers
        )

    def _answered(self, call: Call, status: int | None, fault: str) -> None:
        if call.entry is not None:
            self.ledger.answered(call.entry, status, fault)

    async def _honest(self, call: Call) -> Response:
        try:
            return await self.service.answer(call)
        except RefusalError as refusal:
            return refusal.answer
        except Exception as error:  # noqa: BLE001  # a bug of the simulator must be distinguished from a scripted fault
            traceback.print_exc()
            return json_response(500, {"message": f"the simulator itself failed: {error!r}"})

    async def _scripted(self, call: Call, scope: Scope, receive: Receive, send: Send) -> None:
        rule = self.script.decide(call)
        if rule is not None and rule.delay_before:
            await asyncio.sleep(rule.delay_before)
        if rule is None or rule.apply:
            honest = await self._honest(call)
        else:
            honest = json_response(200, {})
        wait = self.script.wait_before_answer()
        if rule is not None and rule.mode != "slow_drip":
            wait += rule.delay
        if wait:
            await asyncio.sleep(wait)
        if rule is None:
            self._answered(call, honest.status, "")
            await send_answer(send, honest)
            return
        self._answered(call, None, rule.mode)
        status = await misbehave(rule, honest, scope, receive, send)
        if call.entry is not None:
            call.entry.status = status

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.service.deliveries.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _control(self, call: Call) -> Response:
        name = call.path.removeprefix("/_sim/")
        try:
            if call.method == "GET":
                return self._inspect(name, call.query)
            given = json.loads(call.body) if call.body else {}
            if not isinstance(given, dict):
                raise RuleError("the body must be a JSON object")
            return json_response(200, await self._steer(name, given))
        except RefusalError as refusal:
            return refusal.answer
        except KeyError as error:
            return json_response(404, {"message": f"no such control route or field: {error}"})
        except (TypeError, ValueError) as error:
            return json_response(400, {"message": str(error)})

    def _inspect(self, name: str, query: dict[str, str]) -> Response:
        full = query.get("full") == "1"
        views: dict[str, Callable[[], object]] = {
            "health": lambda: {"ok": True},
            "ledger": lambda: {"last_seq": len(self.ledger.entries), "entries": self.ledger.select(query)},
            "summary": lambda: {**self.ledger.summary(full), **self.service.summary(full)},
            "script": self.script.as_json,
            "state": lambda: self.service.state(query),
            "config": self._config,
            "webhooks": lambda: {"webhooks": self.service.deliveries.since(int(query.get("since") or 0))},
        }
        return json_response(200, views[name]())

    async def _steer(self, name: str, given: Json) -> object:
        if name in self.service.controls:
            return await self.service.controls[name](given)
        steps: dict[str, Callable[[Json], object]] = {
            "next": lambda rule: self.script.add(Rule.parse(rule)).as_json(),
            "clear": lambda which: {"removed": self.script.remove(which.get("ids"))},
            "outage": self.script.set_outage,
            "latency": self.script.set_latency,
            "rate-limit": self.script.set_rate_limit,
            "config": self.configure,
            "reset": self._reset,
        }
        return steps[name](given)

    def _reset(self, given: Json) -> Json:
        self.script.clear()
        self.ledger.clear()
        self.service.deliveries.log.clear()
        self.service.reset()
        if given.get("config"):
            self.record_headers = False
            self.service.config.__init__()
            self.configure(self._settings)
        return {"ok": True}

    def _config(self) -> Json:
        return {"record_headers": self.record_headers, **dataclasses.asdict(self.service.config)}

    def configure(self, given: Json) -> Json:
        """Change settings by name; gives all. Raises RuleError on an unknown or unfit one, before any is changed."""
        for name, value in given.items():
            self._check_setting(name, value)
        for name, value in given.items():
            setattr(self if name == "record_headers" else self.service.config, name, value)
        return self._config()

    def _check_setting(self, name: str, value: object) -> None:
        known = self._config()
        if name not in known:
            raise RuleError(f"unknown setting {name!r}; known: {sorted(known)}")
        wanted = type(known[name])
        if not (type(value) is wanted or (wanted is float and type(value) is int)):
            raise RuleError(f"{name} must be of type {wanted.__name__}, not {value!r}")
        choices = self.service.config.CHOICES.get(name)
        if choices and value not in choices:
            raise RuleError(f"{name} must be one of {choices}, not {value!r}")
