"""The API's documentation is complete and valid, and docs/errors.md explains every problem."""

import re
from pathlib import Path
from typing import Any, NamedTuple  # OpenAPI documents are free-form JSON

import pytest
from jsonschema import Draft202012Validator

from platform_relay.core.errors import URN, all_problems
from tests.docs.documents import openapi_document

ERRORS_PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
NEED_NO_KEY = {
    "/healthz",
    "/readyz",
    "/metrics",
    "/v1/webhooks/platform/{webhook_secret}",
    "/v1/store-webhooks/{adapter}",
}
PROBLEM = "application/problem+json"


class Operation(NamedTuple):
    name: str
    path: str
    body: dict[str, Any]


@pytest.fixture
async def document() -> dict[str, Any]:
    return await openapi_document()


def operations(document: dict[str, Any]) -> list[Operation]:
    return [
        Operation(f"{method.upper()} {path}", path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    named = [operation.body["operationId"] for operation in operations(document)]
    assert len(set(named)) == len(named)
    known = {tag["name"] for tag in document["tags"]}
    for operation in operations(document):
        assert operation.body["summary"], operation.name
        assert len(operation.body["description"]) > 40, operation.name
        assert set(operation.body["tags"]) <= known, operation.name
        for parameter in operation.body.get("parameters", ()):
            assert parameter.get("description"), (operation.name, parameter)


def test_every_response_has_an_example(document: dict[str, Any]) -> None:
    for operation in operations(document):
        responses = operation.body["responses"]
        good = [status for status in responses if status.startswith("2")]
        assert good, operation.name
        for status in good:
            content = responses[status].get("content", {})
            assert status == "204" or all("example" in media for media in content.values()), operation.name
            assert status == "204" or content, operation.name
        body = operation.body.get("requestBody")
        if body:
            assert all("example" in media for media in body["content"].values()), operation.name


def test_every_operation_lists_its_problems(document: dict[str, Any]) -> None:
    ids = {problem.id for problem in all_problems()}
    for operation in operations(document):
        problems = {
            status: response["content"][PROBLEM]
            for status, response in operation.body["responses"].items()
            if status >= "400" and PROBLEM in response.get("content", {})
        }
        others = {
            status
            for status, response in operation.body["responses"].items()
            if status >= "400" and PROBLEM not in response.get("content", {})
        }
        assert others <= ({"503"} if operation.path == "/readyz" else set()), operation.name
        assert "500" in problems, operation.name
        for status, media in problems.items():
            for name, example in media["examples"].items():
                assert name in ids, operation.name
                assert example["value"]["status"] == int(status), operation.name
                assert example["value"]["type"] == URN + name, operation.name
        if operation.path not in NEED_NO_KEY:
            assert {"401", "403", "503"} <= set(problems), operation.name
            assert operation.body["security"], operation.name
        else:
            assert "security" not in operation.body, operation.name
        if "requestBody" in operation.body:
            assert {"413", "415", "408"} <= set(problems), operation.name


def test_schemas_are_schemas_and_examples_fit_them(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    assert "HTTPValidationError" not in schemas
    for reference in re.findall(r"'#/components/schemas/([^']+)'", repr(document)):
        assert reference in schemas
    for operation in operations(document):
        bodies = [operation.body.get("requestBody", {}), *operation.body["responses"].values()]
        for media in (media for body in bodies for media in body.get("content", {}).values()):
            validator = Draft202012Validator({**media.get("schema", {}), "components": document["components"]})
            examples = [media["example"]] if "example" in media else [e["value"] for e in media["examples"].values()]
            for example in examples:
                validator.validate(example)


def test_the_webhooks_of_the_platform_are_described(document: dict[str, Any]) -> None:
    assert {"points/redeemed", "customers/tier_entry_reward_earned", "referrals/completed"} <= set(document["webhooks"])
    for item in document["webhooks"].values():
        operation = item["post"]
        assert operation["summary"]
        assert operation["description"]
        assert operation["requestBody"]["content"]["application/json"]["example"]
        assert "200" in operation["responses"]


def test_every_problem_is_explained() -> None:
    page = ERRORS_PAGE.read_text()
    sections = dict(re.findall(r"^## ([a-z-]+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert list(sections) == [problem.id for problem in all_problems()]
    for problem in all_problems():
        assert f"| [`{problem.id}`](#{problem.id}) | {problem.status} | {problem.title} |" in page
        assert problem.next_step in sections[problem.id]
        assert f"{problem.status}: {problem.title}" in sections[problem.id]


def test_the_docstring_shows_the_tree_of_problems() -> None:
    import platform_relay.core.errors  # noqa: PLC0415  # for its docstring

    drawn = re.findall(r"(\w+) +(?:\d{3} +)?([a-z]+-[a-z-]+)$", platform_relay.core.errors.__doc__ or "", re.MULTILINE)
    assert sorted(drawn) == sorted((problem.__name__, problem.id) for problem in all_problems())
