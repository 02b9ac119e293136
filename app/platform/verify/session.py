"""The calls of a verification, and what was learned from them about names and forms."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, Protocol

from platform_relay.core import exact_json
from platform_relay.core.http import HttpClient, HttpResponse, pause_of_429
from platform_relay.platform.fields import NO_FIELDS
from platform_relay.platform.translation import Body
from platform_relay.platform.verify.calls import WRONG_KEY, Call, Calls
from platform_relay.platform.verify.name_findings import is_free, names_in, other_names_in, overrides_of, sent_values
from platform_relay.platform.verify.observations import Exchange, NameFinding, NameState, Observations
from platform_relay.platform.verify.samples import ESSENTIAL, Samples, other_names
from platform_relay.setting_groups import PlatformSettings

THROTTLED_TRIES: Final = 4
SHORTEST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
"""How often a call is made that the Platform refuses because of its rate limit, and the seconds in between."""


class Send(Protocol):
    """Sends the fields of an entity; `step` names the call."""

    async def __call__(self, step: str, values: Body, *, every_name: bool = False) -> Exchange: ...


class Session:
    """`seen` is everything so far. Later calls use the names and forms that the Platform needed."""

    def __init__(
        self, http: HttpClient, settings: PlatformSettings, samples: Samples, on_call: Callable[[Call], None]
    ) -> None:
        self._http = http
        self._url = str(settings.url).rstrip("/")
        self._launcher_url = str(settings.launcher_url).rstrip("/")
        self._key = settings.api_key.get_secret_value() if settings.api_key else ""
        self._samples = samples
        self._on_call = on_call
        self._interval = 1.0 / settings.rate_limit if settings.rate_limit else 0.0
        self.seen = Observations(
            settings.fields, has_launcher=settings.shop_key is not None, time_limit=settings.timeout
        )

    @property
    def calls(self) -> Calls:
        return Calls(self._samples, self.seen.fields)

    async def make(self, call: Call) -> Exchange:
        self._on_call(call)
        headers = {} if call.launcher else {"x-api-key": WRONG_KEY if call.wrong_key else self._key}
        content = None if call.body is None else exact_json.dumps(call.body)
        if content is not None:
            headers["content-type"] = "application/json"
        address = (self._launcher_url if call.launcher else self._url) + call.path
        for _ in range(THROTTLED_TRIES - 1):
            exchange = await self._send(call, address, content, headers)
            pause = pause_of_429(exchange.answer) if isinstance(exchange.answer, HttpResponse) else None
            if pause is None:
                return exchange
            await asyncio.sleep(min(max(pause, SHORTEST_PAUSE), LONGEST_PAUSE))
        return await self._send(call, address, content, headers)

    async def _send(self, call: Call, address: str, content: bytes | None, headers: Mapping[str, str]) -> Exchange:
        if self._interval:
            await asyncio.sleep(self._interval)
        started = time.perf_counter()
        answer = await self._http.call(call.method, address, content=content, headers=headers)
        exchange = Exchange(call, answer, time.perf_counter() - started)
        self.seen.add(exchange)
        return exchange

    # ------------------------------------------------------------------------------------------- names

    async def other_names(self, entity: str, values: Body, send: "Send") -> None:
        """Send the fields again that did not come back: under every name at once, or if the Platform rejects that, one by one."""
        if not (missing := self.missing(entity, values)):
            return
        exchange = await send(f"{entity}.names", values, every_name=True)
        if exchange.accepted:
            self.learn(entity, values, exchange)
            return
        base = {name: value for name, value in values.items() if f"{entity}.{name}" not in missing and name != "id"}
        for name in [name for name in values if f"{entity}.{name}" in missing]:
            await self._one_by_one(entity, name, {**base, name: values[name]}, send)

    async def _one_by_one(self, entity: str, name: str, body: Body, send: "Send") -> None:
        key = f"{entity}.{name}"
        rejected = True
        for other in dict.fromkeys((self.seen.fields[key], *other_names(key))):
            if not is_free(key, other, self.seen.fields):
                continue
            self.use(key, other)
            exchange = await send(f"{entity}.names", body)
            rejected = rejected and not exchange.accepted
            if exchange.accepted:
                findings = names_in(entity, {name: body[name]}, self.seen.fields, [exchange.json])
                finding = findings[key]
                if finding.state is NameState.CONFIRMED:
                    self.seen.names |= findings  # of the rows of a list, too
                    changed = key in self.seen.overrides
                    self.seen.names[key] = (
                        replace(finding, state=NameState.OTHER_NAME, name=other) if changed else finding
                    )
                    return
        self.use(key, NO_FIELDS if rejected and key not in ESSENTIAL else self.configured(key))
        self.seen.names[key] = NameFinding(NameState.REJECTED if rejected else NameState.NOT_SHOWN)

    def missing(self, entity: str, values: Body) -> set[str]:
        """The keys whose values have not come back."""
        return {
            key
            for key, value in sent_values(entity, values)
            if value not in ([], "")
            and self.seen.fields[key] != NO_FIELDS
            and (key not in self.seen.names or self.seen.names[key].state is NameState.NOT_SHOWN)
        }

    def learn(self, entity: str, values: Body, exchange: Exchange, *, except_for: str = "") -> None:
        """Note the names under which values came back, and use them from now on."""
        if not exchange.accepted:
            return
        findings = other_names_in(entity, values, self.seen.fields, [exchange.json], self.seen.names)
        findings.pop(except_for, None)
        self.seen.names |= findings
        self.seen.overrides |= overrides_of(findings, self.seen.fields)

    # ------------------------------------------------------------------------------------------- the table

    def configured(self, key: str) -> str:
        return Observations(self.seen.base).fields[key]

    def use(self, key: str, text: str) -> None:
        """Use another text of the table from now on; that of the settings needs no entry."""
        self.seen.overrides.pop(key, None)
        if text != self.configured(key):
            self.seen.overrides[key] = text

    def wrappers(self, entity: str) -> tuple[str, ...]:
        """The members that may hold the fields of a request, the likeliest first."""
        return tuple(dict.fromkeys((self.seen.fields[f"form.{entity}"], NO_FIELDS, entity, "data")))
