"""docs/api.md agrees with the OpenAPI document, and each of its commands and expressions gets the documented response."""

import asyncio
import base64
import hmac
import io
import json
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest
import pytest_asyncio
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import SecretStr

from platform_relay import wiring
from platform_relay.alerts.alerts import Alerts
from platform_relay.core.errors import URN, all_problems
from platform_relay.core.outcomes import Done
from platform_relay.core.reasons import ReasonCode, because
from platform_relay.imports import importer
from platform_relay.imports.proposal import propose
from platform_relay.imports.uploads import ChosenUpload, keep_upload
from platform_relay.inbox.events import EventKind
from platform_relay.reconcile.coverage import Coverage
from platform_relay.reconcile.differences import Difference
from platform_relay.reconcile.runs import Reconciliations
from platform_relay.setting_groups import ConnectionSettings, PlatformSettings, StoreSettings
from platform_relay.settings import Settings
from tests.api.served import OPERATOR_KEY, STORE_KEY, WEBHOOK_SECRET, serving
from tests.conftest import temporary_database
from tests.docs.api_page import ERRORS_BY_REQUEST, ERRORS_BY_STATE, PAGE, Operation, operations, page
from tests.docs.documents import openapi_document
from tests.explain.scene import CODE, Scene, answered
from tests.helpers import free_port

DOCUMENT: Final = asyncio.run(openapi_document())
OPERATIONS: Final = operations(DOCUMENT)
SECRET: Final = "webhook-secret-of-the-test"
Variables = dict[str, str]
Prepare = Callable[[Scene, Operation], Awaitable[Variables]]


# ----------------------------------------------------------------------------------------------- preparations


async def no_preparation(scene: Scene, _: Operation) -> Variables:
    return {}


async def a_message(scene: Scene, _: Operation) -> Variables:
    return {"MESSAGE_ID": str((await scene.customer()).id)}


async def a_dead_job(scene: Scene, _: Operation) -> Variables:
    await scene.order()
    return {"JOB_ID": str((await scene.run(answered(422, "currency must be ISO 4217"))).id)}


async def a_held_coupon(scene: Scene, _: Operation) -> Variables:
    await scene.promised()
    await scene.coupons.hold(CODE, because(ReasonCode.NO_VALUE, rule="rule-7"))
    return {}


async def an_active_coupon(scene: Scene, _: Operation) -> Variables:
    await scene.promised()
    await scene.sql("UPDATE coupon SET kind = 'fixed_amount', value = 5, currency = 'EUR'")
    await scene.coupons.activate(CODE, "shop-1")
    return {}


async def a_retired_coupon(scene: Scene, operation: Operation) -> Variables:
    await an_active_coupon(scene, operation)
    await scene.coupons.retire(CODE, because(ReasonCode.COUPON_RETIRED, by="operator", comment="fraud"))
    await scene.sql("""UPDATE coupon SET decision = '{"by": "operator", "why": "fraud", "retire": true}'""")
    return {}


async def an_over_used_coupon(scene: Scene, operation: Operation) -> Variables:
    await an_active_coupon(scene, operation)
    await Alerts(scene.engine).raise_alert(because(ReasonCode.COUPON_OVERUSED, code=CODE, orders=2, limit=1), CODE)
    return {}


async def a_paused_destination(scene: Scene, _: Operation) -> Variables:
    await scene.actions.pause("platform", "the store is moved", "operator")
    return {}


async def a_rule(scene: Scene, _: Operation) -> Variables:
    put = next(operation for operation in OPERATIONS if operation.id == "put_reward_rule")
    definition = re.search(r"--data-binary '(.*?)' \"", put.curl)
    assert definition
    await scene.sql(
        "INSERT INTO reward_rule (id, version, definition, created_at, created_by)"
        " VALUES ('rule-5-off', 1, CAST(:definition AS jsonb), now(), 'operator')",
        definition=definition[1],
    )
    return {}


async def an_import(scene: Scene, _: Operation) -> Variables:
    await scene.sql(
        """INSERT INTO import_run (id, digest, kind, mapping, name, actor, state, size, position, last_row, rows, accepted,
                                   duplicates, newer, rejected, problems, columns, notes, created_at, heartbeat_at)
           VALUES (gen_random_uuid(), '', 'customers', '{}', 'http', 'operator', 'running', 9, 0, 0, 0, 0, 0, 0, 0, '[]',
                   '[]', '[]', now(), now())"""
    )
    [(identifier,)] = await scene.rows("SELECT id FROM import_run")
    return {"IMPORT_ID": str(identifier)}


async def a_cancelled_import(scene: Scene, _: Operation) -> Variables:
    """An import whose file is kept, and has a rejected row."""
    raw = b"id,email\n,ada@example.com\n"
    with io.BytesIO(raw) as file:
        upload_id = await keep_upload(scene.engine, file, "http", "csv", EventKind.CUSTOMER, "operator")
        plan = propose(file, "http", "csv", EventKind.CUSTOMER).plan
        claim = await importer.start(
            scene.engine, plan, file, "operator", source="http", upload=ChosenUpload(upload_id, plan.kind)
        )
    await scene.sql("UPDATE import_run SET state = 'cancelled', cancelled_by = 'operator', last_row = 1, rejected = 1")
    return {"IMPORT_ID": str(claim.view.id)}


async def a_reconciliation(scene: Scene, _: Operation) -> Variables:
    return {"RECONCILIATION_ID": str(await Reconciliations(scene.engine).request("operator", None))}


async def an_ended_reconciliation(scene: Scene, _: Operation) -> Variables:
    runs = Reconciliations(scene.engine)
    identifier = await runs.request("operator", None)
    await runs.claim(identifier)
    await runs.add_differences(identifier, [Difference(EventKind.CUSTOMER, "42", "stale", "It differs.")])
    await runs.finish(identifier, {"customers": 1}, [], None, Coverage())
    return {"RECONCILIATION_ID": str(identifier)}


async def a_trial(scene: Scene, _: Operation) -> Variables:
    await scene.sql(
        "INSERT INTO trial (id, started_at) VALUES (1, now()) ON CONFLICT (id) DO UPDATE SET started_at = now(), live_at = NULL"
    )
    return {}


async def a_signature(_: Scene, operation: Operation) -> Variables:
    body = re.search(r"--data-binary '(.*?)' \"", operation.curl)
    assert body
    digest = hmac.digest(SECRET.encode(), body[1].encode(), "sha256")
    return {"SIGNATURE": base64.b64encode(digest).decode()}


PREPARATIONS: Final[dict[str, Prepare]] = {
    "read_event": a_message,
    "receive_store_webhook": a_signature,
    **dict.fromkeys(("retry_job", "send_job_as_newest", "drop_job", "read_job"), a_dead_job),
    "resume_destination": a_paused_destination,
    **dict.fromkeys(("read_reward_rule", "delete_reward_rule"), a_rule),
    **dict.fromkeys(("approve_coupon", "set_coupon_value"), a_held_coupon),
    **dict.fromkeys(("read_coupon", "retire_coupon"), an_active_coupon),
    "return_points": a_retired_coupon,
    "dismiss_coupon_alerts": an_over_used_coupon,
    **dict.fromkeys(("read_import", "cancel_import"), an_import),
    **dict.fromkeys(("resume_import", "read_rejected_rows"), a_cancelled_import),
    **dict.fromkeys(("read_trial", "preview_go_live", "go_live"), a_trial),
    **dict.fromkeys(("read_reconciliation", "cancel_reconciliation"), a_reconciliation),
    **dict.fromkeys(
        ("group_differences", "list_differences", "read_difference_values", "preview_repair", "repair_differences"),
        an_ended_reconciliation,
    ),
}


# ----------------------------------------------------------------------------------------------- the commands


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(
    server_url: str, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[wiring.Services, str]]:
    """One relay for all operations, with a WooCommerce adapter that is never called."""
    shop = {"URL": "http://127.0.0.1:1", "CONSUMER_KEY": "ck_of_the_test", "CONSUMER_SECRET": "cs_of_the_test"}
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {**shop, "WEBHOOK_SECRET": SECRET}.items():
            environment.setenv(f"WOOCOMMERCE__{name}", value)
        settings = Settings(
            _env_file=None,
            data_dir=tmp_path_factory.mktemp("relay"),
            operator_key=SecretStr(OPERATOR_KEY),
            store_key=SecretStr(STORE_KEY),
            store=StoreSettings(adapter="woocommerce"),
            platform=PlatformSettings(webhook_secret=SecretStr(WEBHOOK_SECRET)),
        )
        async with temporary_database(server_url, template_database) as url, serving(settings, url) as running:
            yield running


async def curled(operation: Operation, url: str, variables: Variables) -> tuple[int, str, str]:
    given = "".join(f"{name}='{value}'\n" for name, value in {"RELAY": url, **variables}.items())
    command = operation.curl.replace("curl -s", "curl --noproxy '*' -s -w '\\n%{content_type}\\n%{http_code}'", 1)
    process = await asyncio.create_subprocess_exec(
        "bash", "-euc", given + command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, error = await process.communicate()
    assert process.returncode == 0, error.decode()
    body, media, status = out.decode().rsplit("\n", 2)
    return int(status), media, body


async def called(operation: Operation, url: str, variables: Variables) -> tuple[int, str, str]:
    headers = {"authorization": f"Bearer {OPERATOR_KEY}"}

    def call() -> httpx.Response:
        with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=30) as client:
            answer: httpx.Response = eval(operation.python, {"relay": client, **variables})  # noqa: S307  # our own page
            return answer

    answer = await asyncio.to_thread(call)
    return answer.status_code, answer.headers.get("content-type", ""), answer.text


WAYS: Final = {"curl": curled, "httpx": called}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="the commands need curl and bash")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
async def test_an_operation_responds_as_documented(
    operation: Operation, way: str, relay: tuple[wiring.Services, str]
) -> None:
    parts, url = relay
    scene = Scene(parts.engine)
    await scene.sql(
        "TRUNCATE message, dedupe_digest, job, lane, attempt, entity, coupon, alert, reward_rule, import_run, reconciliation,"
        " import_upload, import_chunk"
    )
    await scene.sql("UPDATE destination SET state = 'open', reason_code = NULL, facts = NULL, retry_at = NULL")
    prepared = await PREPARATIONS.get(operation.id, no_preparation)(scene, operation)
    variables = {"KEY": OPERATOR_KEY, "WEBHOOK_SECRET": WEBHOOK_SECRET, **prepared}
    status, media, text = await WAYS[way](operation, url, variables)
    documented = operation.responses.get(str(status))
    assert 200 <= status < 300, text
    assert documented is not None, f"{status} is not documented"
    [(expected, content)] = (documented.get("content") or {"": {}}).items()
    assert media.partition(";")[0] == expected
    if expected == "application/json":
        schema = {**content.get("schema", {}), "components": DOCUMENT["components"]}
        Draft202012Validator(schema).validate(json.loads(text))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="the commands need curl and bash")
@pytest.mark.parametrize("problem", ERRORS_BY_REQUEST)
async def test_an_error_by_request_is_as_documented(problem: str, relay: tuple[wiring.Services, str]) -> None:
    parts, url = relay
    scene = Scene(parts.engine)
    await scene.sql("TRUNCATE message, dedupe_digest, job, lane, attempt, entity")
    await scene.order()
    job = await scene.run(Done(digest=b"d"))
    variables = {"RELAY": url, "KEY": OPERATOR_KEY, "STORE_KEY": STORE_KEY, "JOB_ID": str(job.id)}
    await _check_error(problem, ERRORS_BY_REQUEST[problem], variables)


async def _check_error(problem: str, command: str, variables: Variables) -> None:
    """The response to the last request of the command is the problem on the page."""
    given = "".join(f"{name}='{value}'\n" for name, value in variables.items())
    command = command.replace("curl -s", "curl --noproxy '*' -s -w '\\n%{content_type}\\n%{http_code}\\n'")
    process = await asyncio.create_subprocess_exec("bash", "-euc", given + command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    body, media, status = out.decode().rstrip("\n").rsplit("\n", 2)
    document = json.loads(body.splitlines()[-1])
    assert (media, document["type"], document["status"]) == ("application/problem+json", URN + problem, int(status))
    documented = next(kind for kind in all_problems() if kind.id == problem)().document()
    assert (document["title"], document["next_step"]) == (documented["title"], documented["next_step"])


async def _broken(*_: object, **__: object) -> None:
    raise RuntimeError("an error in the relay")


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="the commands need curl and bash")
@pytest.mark.parametrize("problem", ERRORS_BY_STATE)
async def test_an_error_by_state_is_as_documented(
    problem: str, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path,
        operator_key=SecretStr(OPERATOR_KEY),
        connections=ConnectionSettings(per_address=1 if problem == "too-many-connections" else 250),
    )
    nowhere = f"postgresql://nobody@127.0.0.1:{free_port()}/nowhere"
    away = problem == "database-away"
    async with serving(settings, nowhere if away else database_url) as (parts, url), AsyncExitStack() as stack:
        if problem == "internal-error":
            monkeypatch.setattr(parts.inbox, "accept", _broken)
        monkeypatch.setattr("platform_relay.api.request_body.SECONDS", 0.2)
        if problem == "too-many-connections":
            await stack.enter_async_context(_busy_connection(url))
        command = re.sub(r"sleep \d+", "sleep 2", ERRORS_BY_STATE[problem][1])  # longer than the 0.2 s
        await _check_error(problem, command, {"RELAY": url, "KEY": OPERATOR_KEY})


@asynccontextmanager
async def _busy_connection(url: str) -> AsyncIterator[None]:
    """A connection that sends a body; the relay has read the beginning of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    head = f"POST /v1/events/customers HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer {OPERATOR_KEY}\r\n"
    writer.write(f"{head}Content-Length: 9\r\nExpect: 100-continue\r\n\r\n".encode())
    assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
    yield
    writer.close()
    await writer.wait_closed()


def test_every_error_is_on_the_page() -> None:
    assert sorted([*ERRORS_BY_REQUEST, *ERRORS_BY_STATE]) == sorted(problem.id for problem in all_problems())


# ----------------------------------------------------------------------------------------------- the page, the document


def test_the_page_agrees_with_the_document() -> None:
    assert PAGE.read_text("utf-8") == page(DOCUMENT), "run: python -m tests.docs.api_page"


def test_every_preparation_is_of_an_operation() -> None:
    assert set(PREPARATIONS) <= {operation.id for operation in OPERATIONS}


def test_other_programs_can_import_the_document() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    for path, item in DOCUMENT["paths"].items():
        assert set(item) <= {"get", "post", "put", "delete"}, path
    assert DOCUMENT["servers"], "Postman and Bruno take the base address from it"
