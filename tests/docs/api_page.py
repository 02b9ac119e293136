"""docs/api.md, made from the OpenAPI document: every operation and webhook with curl, httpx, the answer and the refusals.

`python -m tests.docs.api_page` writes it; `test_api_page.py` compares it and runs every command in it.
"""

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from platform_relay.api.authentication import TRIES
from platform_relay.api.request_body import SECONDS
from platform_relay.core.errors import URN, Problem, all_problems
from tests.docs.documents import openapi_document

PAGE: Final = Path(__file__).parents[2] / "docs" / "api.md"
KNOWN: Final = {"adapter": "woocommerce", "name": "platform", "rule_id": "rule-5-off", "code": "ab12cd34ef56"}
"""What stands for a parameter of an address in the examples; others are variables."""
QUERY: Final = {"explain": "order=1001", "import_file": "kind=customers"}
SIGNED: Final = {
    "X-WC-Webhook-Topic": "order.updated",
    "X-WC-Webhook-Signature": "$SIGNATURE",
    "Content-Type": "application/json",
}
HEADERS: Final[dict[str, dict[str, str]]] = {
    "take_platform_webhook": {"X-Webhook-Topic": "points/redeemed"},
    "take_store_webhook": SIGNED,
}
HEAD: Final = """# The API, by example

<!-- made by `python -m tests.docs.api_page`; every command below is run by tests/docs/test_api_page.py -->

All of it is also at `/openapi.json` (OpenAPI 3.1; Postman and Bruno import it), `/docs` and `/redoc` of a running relay. The
first steps in their order: [Getting started](getting-started.md). Every refusal and what to do about it: [Errors](errors.md).

```sh
RELAY=https://relay.example
KEY=the-key-that-you-were-given
```

```python
import httpx

relay = httpx.Client(base_url="https://relay.example", headers={"authorization": "Bearer the-key-that-you-were-given"})
```

A timeout or a 503 says nothing about what happened: send the same again. Events carry an `Idempotency-Key`, or are recognised by
kind, id and `updatedAt`; every other call may be repeated as it is.
"""


_EVENT: Final = '"$RELAY/v1/events/customers"'
_KEYED: Final = 'curl -s -H "Authorization: Bearer $KEY"'
REFUSED: Final = {
    "key-missing": f"curl -s -d '{{}}' {_EVENT}",
    "key-refused": f"curl -s -H 'Authorization: Bearer wrong' -d '{{}}' {_EVENT}",
    "signature-refused": 'curl -s -H "X-WC-Webhook-Signature: wrong" -d \'{}\' "$RELAY/v1/store-webhooks/woocommerce"',
    "scope-missing": 'curl -s -H "Authorization: Bearer $STORE_KEY" -d \'{}\' "$RELAY/v1/jobs/retry"',
    "not-found": f'{_KEYED} "$RELAY/v1/jobs/01970c5a-1c1b-7e3a-9d52-6f0b5d3c2a12"',
    "method-not-allowed": f'{_KEYED} -X DELETE "$RELAY/v1/jobs"',
    "idempotency-conflict": "\n".join(
        f"{_KEYED} -H 'Idempotency-Key: change-1' -d '{{\"id\": \"{number}\"}}' {_EVENT}" for number in (42, 43)
    ),
    "wrong-state": f'{_KEYED} -X POST "$RELAY/v1/jobs/$JOB_ID/retry"',
    "body-too-large": f"head -c 2000000 /dev/zero | {_KEYED} --data-binary @- {_EVENT}",
    "encoding-refused": f"{_KEYED} -H 'Content-Encoding: gzip' -d '{{}}' {_EVENT}",
    "not-json": f"{_KEYED} -d 'id=42' {_EVENT}",
    "fields-invalid": f'{_KEYED} -d \'{{"id": "42", "email": "nobody"}}\' {_EVENT}',
    "header-invalid": f"{_KEYED} -H 'Idempotency-Key: ä' -d '{{\"id\": \"42\"}}' {_EVENT}",
    "query-invalid": f'{_KEYED} "$RELAY/v1/jobs?limit=many"',
    "too-many-lines": f"yes '{{}}' | head -n 20000 | {_KEYED} --data-binary @- \"$RELAY/v1/events/batch\"",
}
"""How each refusal comes about that a caller can bring about; the last line is what is refused."""
_EVENT_SENT: Final = f'{_KEYED} -d \'{{"id": "42"}}\' {_EVENT}'
HINDERED: Final = {
    "body-too-slow": (
        f"When the whole body has not arrived within {SECONDS:g} seconds.",
        f"{{ printf '{{\"id\": '; sleep {SECONDS + 5:g}; }} | {_KEYED} -X POST -T - {_EVENT}",
    ),
    "too-many-wrong-keys": (
        f"When {TRIES} wrong keys came from one address within a minute; right keys that were used before are let in.",
        f"for key in $(seq {TRIES + 1}); do curl -s -H \"Authorization: Bearer wrong-$key\" -d '{{}}' {_EVENT}; done",
    ),
    "internal-error": (
        "When the relay has a fault of its own; `instance` names the incident, which the relay's log tells more of.",
        _EVENT_SENT,
    ),
    "database-away": (
        "When PostgreSQL cannot be reached, or did not confirm a commit in time; `/readyz` says so too.",
        _EVENT_SENT,
    ),
}
"""When the other refusals come, and to which request: each needs a relay in that state, or shuts the caller out."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One section of the page. `curl` is a shell command, `python` an expression with `relay`."""

    id: str
    title: str
    tag: str
    text: str
    curl: str
    python: str
    responses: dict[str, Any]


def operations(document: dict[str, Any]) -> list[Operation]:
    """Those of the store and the operator, then the Platform's webhooks."""
    found = [
        _operation(method, path, item)
        for path, methods in document["paths"].items()
        for method, item in methods.items()
    ]
    return found + [_webhook(topic, item["post"]) for topic, item in document["webhooks"].items()]


def page(document: dict[str, Any]) -> str:
    sections = operations(document)
    parts = [HEAD]
    for tag in document["tags"]:
        parts.append(f"## {tag['name']}\n\n{tag['description']}\n")
        parts += [_section(each) for each in sections if each.tag == tag["name"]]
    parts.append("## Refusals\n\nEvery refusal, and how it comes about.\n")
    parts += [_refusal(problem) for problem in all_problems()]
    return _formatted("\n".join(parts))


def _formatted(text: str) -> str:
    """The Python in it as everywhere in this project."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(PAGE), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def _refusal(problem: type[Problem]) -> str:
    lines = [f"### {problem.status} {problem.id}", "", f"[{problem.title}](errors.md#{problem.id}).", ""]
    when, command = HINDERED.get(problem.id) or ("", REFUSED[problem.id])
    lines += [when, ""] if when else []
    lines += ["```sh", command, "```", ""]
    return "\n".join([*lines, "```json", json.dumps(problem().document(), indent=2, ensure_ascii=False), "```", ""])


def _operation(method: str, path: str, item: dict[str, Any]) -> Operation:
    media, example = _body(item)
    headers = HEADERS.get(item["operationId"], {})
    scope = item["security"][0]["key"][0] if item.get("security") else None
    needs = f"Scope `{scope}`." if scope else "Needs no key." if method == "get" else "Its secret is the credential."
    return Operation(
        item["operationId"],
        f"{method.upper()} {path}",
        item["tags"][0],
        f"**{item['summary']}.** {item['description']} {needs}",
        _curl(method, path, item, headers, media, example, keyed=scope is not None),
        _python(method, path, item, headers, media, example),
        item["responses"],
    )


def _webhook(topic: str, item: dict[str, Any]) -> Operation:
    path, headers = "/v1/webhooks/platform/{webhook_secret}", {"X-Webhook-Topic": topic}
    media, example = _body(item)
    return Operation(
        item["operationId"],
        f"Webhook {topic}",
        item["tags"][0],
        f"**{item['summary']}.** {item['description']}",
        _curl("post", path, item, headers, media, example, keyed=False),
        _python("post", path, item, headers, media, example),
        item["responses"],
    )


def _body(item: dict[str, Any]) -> tuple[str | None, Any]:  # Any: JSON
    for media, content in item.get("requestBody", {}).get("content", {}).items():
        return media, content["example"]
    return None, None


def _curl(
    method: str, path: str, item: dict[str, Any], headers: dict[str, str], media: str | None, body: Any, *, keyed: bool
) -> str:
    parts = ["curl -s", "" if method == ("post" if media else "get") else f"-X {method.upper()}"]
    parts += ['-H "Authorization: Bearer $KEY"' if keyed else ""]
    told = headers if "Content-Type" in headers or media is None else {**headers, "Content-Type": media}
    parts += [f'-H "{name}: {value}"' for name, value in told.items()]
    if media is not None:
        quoted = _text(media, body).replace("'", "'\\''")
        parts.append(f"--data-binary '{quoted}'")
    parts.append(f'"$RELAY{_address(path, item, "${}")}"')
    return " ".join(part for part in parts if part)


def _python(method: str, path: str, item: dict[str, Any], headers: dict[str, str], media: str | None, body: Any) -> str:
    address = _address(path, item, "{{{}}}")
    given = [f'f"{address}"' if "{" in address else f'"{address}"']
    raw = media is not None and (media != "application/json" or "Content-Type" in headers)
    if raw:
        headers = {"Content-Type": media or "", **headers}
        given.append(f"content={_text(media or '', body)!r}")
    elif media is not None:
        given.append(f"json={body!r}")
    if headers:
        told = {name: value for name, value in headers.items() if not value.startswith("$")}
        extra = "".join(f', "{name}": {value[1:]}' for name, value in headers.items() if value.startswith("$"))
        given.append(f"headers={str(told)[:-1]}{extra}}}")
    return f"relay.{method}({', '.join(given)})"


def _text(media: str, body: Any) -> str:  # Any: JSON
    return body if media != "application/json" else json.dumps(body, ensure_ascii=False)


def _address(path: str, item: dict[str, Any], variable: str) -> str:
    for name in [part[1:-1] for part in path.split("/") if part.startswith("{")]:
        path = path.replace(f"{{{name}}}", KNOWN.get(name) or variable.format(name.upper()))
    query = QUERY.get(item["operationId"])
    return f"{path}?{query}" if query else path


def _section(each: Operation) -> str:
    lines = [f"### {each.title}", "", " ".join(each.text.split()), "", "```sh", each.curl, "```", ""]
    lines += ["```python", each.python, "```", ""]
    refused: list[str] = []
    for status, response in sorted(each.responses.items()):
        [(media, content), *_] = response.get("content", {"": {}}).items()
        if status < "300":
            lines += [f"{status}: {response['description']}", ""]
            if "example" in content:
                shown = content["example"]
                text = shown if isinstance(shown, str) else json.dumps(shown, indent=2, ensure_ascii=False)
                lines += [f"```{'json' if media == 'application/json' else 'text'}", text.rstrip(), "```", ""]
        else:
            names = [example["value"]["type"].removeprefix(URN) for example in content.get("examples", {}).values()]
            refused += [f"{status} {', '.join(f'[{name}](errors.md#{name})' for name in names)}" if names else status]
    if refused:
        lines += [f"Refusals: {'; '.join(refused)}.", ""]
    return "\n".join(lines)


def main() -> None:
    PAGE.write_text(page(asyncio.run(openapi_document())), "utf-8")


if __name__ == "__main__":
    main()
