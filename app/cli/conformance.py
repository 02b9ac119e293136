"""`relay conformance`: prove a store adapter against a running sandbox store."""

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape

from platform_relay import conformance, stores
from platform_relay.cli.context import run
from platform_relay.cli.terminal import out
from platform_relay.core.http import HttpClients

MARKS: Final = {"pass": "[green]pass[/green]", "fail": "[red]FAIL[/red]", "skip": "[yellow]skip[/yellow]"}


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
    only: Annotated[str | None, typer.Option(help="Run only the cases whose names contain this.")] = None,
    time_limit: Annotated[float, typer.Option(min=0.1, max=120, help="Seconds per call.")] = 15.0,
) -> None:
    """Prove an adapter against a SANDBOX store. Creates and retires coupons there. Needs no database."""
    if not sys.path or sys.path[0] != "":
        sys.path.insert(0, os.getcwd())  # an adapter in development is usually not installed
    chosen = stores.adapter_class(adapter)
    data = conformance.SandboxData(
        currency=currency,
        product_ids=tuple(product or ()),
        variant_ids=tuple(variant or ()),
        customer_id=customer_id,
        email=email,
        webhook=_read(webhook) if webhook else None,
        address=address,
    )
    cases = [case for case in conformance.CASES if only is None or only.casefold() in case.name.casefold()]
    if not cases:
        raise ValueError(f"no case has {only!r} in its name")

    async def work() -> Counter[str]:
        await stores.build(adapter, HttpClients(time_limit)).aclose()  # raises if a variable is missing
        count: Counter[str] = Counter()
        async for result in conformance.run(chosen, data, cases, time_limit=time_limit):
            count[result.result] += 1
            out.print(f"{MARKS[result.result]}  [bold]{escape(result.case.name)}[/bold]", highlight=False)
            if result.result == "fail":
                out.print(f"      required: {result.case.requirement}", highlight=False, markup=False)
            if result.problem:
                out.print(f"      {result.problem}", highlight=False, markup=False)
        return count

    count = run(work())
    out.print(f"{count['pass']} passed, {count['fail']} failed, {count['skip']} skipped", highlight=False)
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
