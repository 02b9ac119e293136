"""Numbers in spellings that Python accepts and their sender may not mean: `1_9`, `٢٠`, exponents, NaN."""

import ast
import importlib
import json
import pkgutil
import string
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import FunctionType
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints  # Any: annotations

import pytest
import typer
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

import platform_relay
import platform_relay.cli as cli_package
from platform_relay.core import exact_json
from platform_relay.core.plain_numbers import NotANumberError, amount, decimal, integer, is_count
from platform_relay.inbox.events import OrderEvent
from platform_relay.platform.webhooks import parse_webhook
from platform_relay.settings import Settings

APP: Final = Path(__file__).parents[2] / "app"
SPELLINGS: Final = (
    "1_9", "1_0.5", "٢٠", "１９", "२०", "2²", "1e2", "1E2", "+5", "0x10", "0b1", "NaN", "Infinity", "-inf", "1,5", "1 9", "--1",
    "5-", "", " ", ".", "-", "1.2.3", "½", "1" * 41, "0" * 5000, "5\n",
)  # fmt: skip
LIBRARY_NUMBERS: Final = {int, float, Decimal}


@pytest.mark.parametrize("text", SPELLINGS)
def test_other_spellings_are_no_numbers(text: str) -> None:
    for read in (decimal, integer, amount):
        with pytest.raises(NotANumberError):
            read(text)
    assert not is_count(text)
    assert exact_json.number(text) is None


def numbers_of_commands() -> Iterator[tuple[str, Any]]:  # Any: typer's description of an option
    """Every option of a command that is a number."""
    for module in pkgutil.iter_modules(cli_package.__path__, f"{cli_package.__name__}."):
        if module.name.endswith("__main__"):
            continue
        for name, function in vars(importlib.import_module(module.name)).items():
            if not isinstance(function, FunctionType) or function.__module__ != module.name:
                continue
            for parameter, hint in get_type_hints(function, include_extras=True).items():
                for option in getattr(hint, "__metadata__", ()):
                    if {hint.__origin__, *get_args(hint.__origin__)} & LIBRARY_NUMBERS:
                        yield f"{module.name}.{name}: {parameter}", option


@pytest.mark.parametrize(("where", "option"), list(numbers_of_commands()))
def test_the_command_line_reads_no_number_in_another_spelling(where: str, option: Any) -> None:  # Any: as above
    """Its library reads `1_9` as 19."""
    assert option.parser is not None, f"{where}: use cli/numbers.py"
    assert option.parser("10") == 10
    for text in (*SPELLINGS, "-1"):
        with pytest.raises(typer.BadParameter):
            option.parser(text)


@given(st.text(st.sampled_from(string.digits + "._-+eE٢１ ")))
@example("12.50")
@example("10.0")
def test_what_is_read_is_what_is_written(text: str) -> None:
    try:
        number = decimal(text)
    except NotANumberError:
        return
    assert set(text) <= set(string.digits + ".-")
    whole, _, places = text.removeprefix("-").partition(".")
    assert Fraction(number.copy_abs()) == Fraction(int(whole + places), 10 ** len(places))


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**15), max_value=10**15))
def test_every_plain_number_is_read(number: Decimal) -> None:
    assert decimal(f"{number:f}") == number


@pytest.mark.parametrize("text", SPELLINGS)
def test_a_webhook_with_another_spelling_has_no_points_and_no_value(text: str) -> None:
    reward = {"couponCode": "abc", "discountAmount": text, "discountType": "fixed_amount", "id": "1"}
    body = {
        "id": "1",
        "points": text,
        "couponCode": "abc",
        "customer": {"pointBalance": text},
        "customerReward": reward,
    }
    webhook = parse_webhook("points/redeemed", json.dumps(body).encode())
    assert webhook is not None
    assert webhook.customer is not None
    assert (webhook.points, webhook.customer.point_balance) == (None, None)
    referral = parse_webhook("referrals/completed", json.dumps(body).encode())
    assert referral is not None
    [(_, redemption)] = referral.redemptions
    assert redemption.embedded is not None
    assert redemption.embedded.value is None


@pytest.mark.parametrize("text", [text for text in SPELLINGS if text.strip()])
def test_an_event_with_another_spelling_is_rejected(text: str) -> None:
    order = {"id": "1", "financialStatus": "paid", "currency": "EUR", "totalPrice": "5"}
    for members in ({"totalPrice": text}, {"lineItems": [{"quantity": text}]}, {"lineItems": [{"price": text}]}):
        with pytest.raises(ValidationError):
            OrderEvent.parse(json.dumps({**order, **members}).encode())


@pytest.mark.parametrize(
    "name", ["PORT", "COUPONS__MAX_VALUE", "COUPONS__CONFIRM_ABOVE", "PLATFORM__TIMEOUT", "PLATFORM__RATE_LIMIT"]
)
def test_a_setting_with_another_spelling_is_rejected(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "30")
    Settings(_env_file=None)
    for text in ("1_9", "٢٠", "１９"):
        monkeypatch.setenv(name, text)
        with pytest.raises(ValidationError):
            Settings(_env_file=None)


# ------------------------------------------------------------------------------- nothing reads a number in another way


def models() -> Iterator[type[BaseModel]]:
    """Every model of the application that is read from outside."""
    for model in dict.fromkeys(_all_models()):
        if not RESPONSES_ONLY & {base.__name__ for base in model.__mro__} and model.__name__ not in WRITTEN:
            yield model


def _all_models() -> Iterator[type[BaseModel]]:
    for module in pkgutil.walk_packages(platform_relay.__path__, "platform_relay."):
        if ".migrations" not in module.name and not module.name.endswith("__main__"):
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, type) and issubclass(value, BaseModel) and value.__module__ == module.name:
                    yield value


def is_number(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        return is_number(get_args(annotation)[0])
    return annotation in LIBRARY_NUMBERS or any(is_number(argument) for argument in get_args(annotation))


RESPONSES_ONLY: Final = frozenset({"View", "Page"})
"""Bases of models that the relay only writes."""


def test_every_numeric_field_of_a_model_refuses_other_spellings() -> None:
    wrong, count = [], 0
    for model in models():
        for name, field in model.model_fields.items():
            if not is_number(field.annotation):
                continue
            count += 1
            annotated: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            for text in ("1_0", "１0", "٢٠"):
                try:
                    TypeAdapter(annotated).validate_python(text)
                except ValidationError:
                    continue
                wrong.append(f"{model.__name__}.{name} {text}")
    assert wrong == []
    assert count > 30


WRITTEN: Final = frozenset({"ChangedJobs", "ReleasedLimits", "RuleView", "StoredRule"})
"""Other models that the relay only writes."""

REVIEWED: Final = frozenset(
    {
        "jobs/queries.py: int(row.left_history)",  # numbers of the database, as the next three
        "jobs/queries.py: int(row.messages)",
        "queue/last_work.py: float(row.seconds)",
        "queue/due.py: float(row.seconds)",
        "core/chunks.py: int(size * TARGET / seconds)",
        "queue/queue.py: int((await connection.execute(WATCH_LANE, parameters)).scalar_one())",
        "access/body_shapes.py: .isdigit",  # a number in a path becomes `#`
        "core/http_messages.py: int(match[3])",  # a port: ASCII digits by the pattern
        "core/metrics.py: float(self._snapshot.trial)",
        "platform/echo.py: .isdigit",  # telephone numbers are compared by their digits
        "platform/verify/protocol_checks.py: int(match[1])",  # ASCII digits by the pattern
        "platform/verify/protocol_checks.py: int(match[2])",
        "setup/collect.py: int((await connection.execute(_CUSTOMERS)).scalar() or 0)",
        "setup/collect.py: int(points)",
        "setup/test_coupon.py: int(SECONDS)",
        "api/client_ip.py: int(address)",  # an address, not a text
        "api/client_ip.py: int(network.network_address)",
        "imports/id_reading.py: int(value)",  # a Decimal of JSON without decimal places
        "imports/id_values.py: .isdecimal",  # with isascii, and for the length of the text only
        "core/exact_json.py: Decimal(text)",  # called by the JSON parser with a number of JSON
        "cli/numbers.py: float(_read(decimal, value))",
        "cli/rejected_rows.py: int(json.loads(line)['row'])",
        "imports/xlsx_numbers.py: Decimal(raw)",  # a number of a workbook: ASCII digits, and an exponent
        "conformance/coupons.py: Decimal(-1)",
        "conformance/coupons.py: Decimal(amount)",
        "conformance/coupons.py: Decimal(number)",
        "conformance/integrity.py: int(requested)",
        "conformance/wire.py: Decimal(str(document))",
        "conformance/wire.py: Decimal(str(leaf))",
        "conformance/wire.py: int(amount * 100)",
        "console/live.py: int(first.timestamp())",
        "console/now.py: int(time.time())",
        "core/database_url.py: float(seconds)",
        "core/egress.py: int(address)",
        "core/embedded.py: int((self.pgdata / 'postmaster.pid').read_text().splitlines()[0])",
        "core/embedded.py: int((self.pgdata / 'postmaster.pid').read_text().splitlines()[3])",
        "core/embedded.py: int(number)",
        "core/http.py: float(value)",
        "core/http.py: int(self.time_limit)",
        "core/ids.py: int(moment.timestamp() * 1000)",
        "core/metrics.py: float(backlog.state == 'open')",
        "core/metrics.py: float(self._database_up)",
        "core/opentelemetry.py: int(milliseconds * 1000000.0)",
        "coupons/records.py: Decimal(value)",
        "coupons/spec.py: Decimal(number)",
        "coupons/valuation_rules.py: Decimal(defined.point_cost)",
        "coupons/verification_rules.py: Decimal(defined.point_cost)",
        "explain/diagnose.py: int(time.total_seconds())",
        "inbox/events.py: Decimal(value)",
        "inbox/events.py: Decimal(written)",
        "inbox/events.py: int(rounded)",
        "jobs/queries.py: float(row.oldest)",
        "jobs/queries.py: int(row.waiting)",
        "platform/webhooks.py: int(number)",
        "queue/decide.py: int(value)",
        "queue/destinations.py: float(row or 0.0)",
        "queue/queue.py: int(isinstance(transition, GiveBack))",
        "queue/queue.py: int(job.spec.backfill)",
        "queue/rate_limiter.py: float(sum((now - call < 1.0 for call in self._calls)))",
        "queue/retry.py: int(window / self.base(1))",
        "core/setting_values.py: float(match[1])",
        "stores/bigcommerce/api.py: float(reset)",
        "stores/generic_http.py: int(now.timestamp())",
        "stores/loyalty_sync.py: int(number)",
        "stores/medusa/coupons.py: int(_number(budget, 'limit'))",
        "stores/shopify/api.py: int(seconds)",
        "stores/shopify/coupons.py: int(amount.as_tuple().exponent)",
    }
)
"""Calls whose argument is a number already, was checked, or comes from our own database and files."""


def test_no_code_reads_a_number_from_text_in_another_way() -> None:
    """`int(…)`, `Decimal(…)` and `float(…)` of something that may be a text: `plain_numbers` is the way."""
    others = []
    for file in sorted(APP.rglob("*.py")):
        if file.name == "plain_numbers.py":
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("int", "Decimal", "float")
            ):
                if len(node.args) == 1 and not isinstance(node.args[0], ast.Constant):
                    others.append(f"{file.relative_to(APP)}: {ast.unparse(node)}")
            elif isinstance(node, ast.Attribute) and node.attr in ("isdigit", "isnumeric", "isdecimal"):
                others.append(f"{file.relative_to(APP)}: .{node.attr}")
    assert sorted(set(others) - REVIEWED) == []
    assert sorted(REVIEWED - set(others)) == []
