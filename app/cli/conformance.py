"""`relay conformance`: test a store adapter on a running sandbox store."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Final

import typer

from platform_relay import conformance, stores
from platform_relay.cli.context import run
from platform_relay.cli.numbers import NUMBER, number
from platform_relay.cli.terminal import mark, out
from platform_relay.core.http import HttpClients
from platform_relay.core.setting_values import parse_rate
from platform_relay.settings import Settings

MARKS: Final = {"pass": ("pass", "green"), "fail": ("FAIL", "red"), "skip": ("skip", "yellow")}


def check_adapter(
    adapter: Annotated[str, typer.Argument(help="package.module:Class, or the name of an included adapter.")],
    currency: Annotated[str, typer.Option(help="The currency of the store.")] = "EUR",
    product: Annotated[list[str] | None, typer.Option(help="A product id of the store. May be repeated.")] = None,
    variant: Annotated[
        list[str] | None, typer.Option(help="The id of one variant of a product that has several. May be repeated.")
    ] = None,
    customer_id: Annotated[str | None, typer.Option(help="Id of a customer of the store.")] = None,
    email: Annotated[str | None, typer.Option(help="E-mail address of a customer of the store.")] = None,
    webhook: Annotated[
        Path | None,
        typer.Option(help='File with a genuine webhook of the store: JSON with "headers" and "body_raw".', exists=True),
    ] = None,
    address: Annotated[str | None, typer.Option(help="A temporary address for the store's webhooks.")] = None,
    cart: Annotated[
        str | None, typer.Option(help="package.module:Class with carts of the store, to check discounts in them.")
    ] = None,
    only: Annotated[str | None, typer.Option(help="Run only the cases whose names contain this.")] = None,
    other_currency: Annotated[str | None, typer.Option(help="A currency that is not the store's.")] = None,
    rate_limit: Annotated[
        str | None, typer.Option(help="Calls that the store allows, e.g. 120/min (default: STORE__RATE_LIMIT).")
    ] = None,
    time_limit: Annotated[
        float, typer.Option(parser=number(0.1, 120), metavar=NUMBER, help="Seconds per call.")
    ] = 15.0,
) -> None:
    """Test an adapter on a SANDBOX store. Creates and retires coupons there. Needs no database."""
    chosen = stores.adapter_class(adapter)
    data = conformance.SandboxData(
        currency=currency,
        product_ids=tuple(product or ()),
        variant_ids=tuple(variant or ()),
        customer_id=customer_id,
        email=email,
        webhook=_read(webhook) if webhook else None,
        address=address,
        carts=conformance.load_carts(cart) if cart else None,
        other_currency=other_currency,
    )
    cases = [case for case in conformance.CASES if only is None or only.casefold() in case.name.casefold()]
    if not cases:
        raise ValueError(f"no case has {only!r} in its name")

    async def work() -> Counter[str]:
        await stores.build(adapter, HttpClients(time_limit)).aclose()  # raises if a variable is missing
        count: Counter[str] = Counter()
        rate = parse_rate(rate_limit) if rate_limit else Settings().store.rate_limit
        async for result in conformance.run(chosen, data, cases, time_limit=time_limit, rate=rate):
            count[result.result] += 1
            out.print(mark(*MARKS[result.result]), mark(result.case.name, "bold"), sep="  ")
            if result.result == "fail":
                out.print(f"      required: {result.case.requirement}")
            if result.problem:
                out.print(f"      {result.problem}")
            if result.left:
                out.print(f"      may be left in the store: {', '.join(result.left)}")
        return count

    count = run(work())
    out.print(f"{count['pass']} passed, {count['fail']} failed, {count['skip']} skipped")
    if count["fail"]:
        raise typer.Exit(1)


def _read(file: Path) -> tuple[dict[str, str], bytes]:
    try:
        content = json.loads(file.read_text())
        headers = {str(name).lower(): str(value) for name, value in content["headers"].items()}
        return headers, str(content["body_raw"]).encode()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file} is not a webhook: it must be JSON with an object `headers` and a string `body_raw` ({error})"
        ) from error
