"""`relay conformance`: the promises of an adapter, tried on a running sandbox store."""

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.markup import escape

from platform_relay import conformance, stores
from platform_relay.cli.parts import run
from platform_relay.cli.terminal import out
from platform_relay.core.http import HttpClients

MARKS: Final = {"pass": "[green]pass[/green]", "fail": "[red]FAIL[/red]", "skip": "[yellow]skip[/yellow]"}


def conform(
    adapter: Annotated[str, typer.Argument(help="package.module:Class, or the name of an adapter of ours.")],
    currency: Annotated[str, typer.Option(help="What the store sells in.")] = "EUR",
    product: Annotated[list[str] | None, typer.Option(help="Id of a product of the store; may be repeated.")] = None,
    variant: Annotated[
        list[str] | None, typer.Option(help="Id of one variant of a product that has several; may be repeated.")
    ] = None,
    customer_id: Annotated[str | None, typer.Option(help="Id of a customer of the store.")] = None,
    email: Annotated[str | None, typer.Option(help="Address of a customer of the store.")] = None,
    webhook: Annotated[
        Path | None,
        typer.Option(help='A genuine webhook of the shop: JSON with "headers" and "body_raw".', exists=True),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Where the store may be told to send webhooks, for a moment.")
    ] = None,
    only: Annotated[str | None, typer.Option(help="Only the cases with this in their names.")] = None,
    time_limit: Annotated[float, typer.Option(min=0.1, max=120, help="Seconds per call.")] = 15.0,
) -> None:
    """Try an adapter's promises on its SANDBOX shop: coupons are made there and retired again. Needs no database."""
    if not sys.path or sys.path[0] != "":
        sys.path.insert(0, os.getcwd())  # an adapter in the making is seldom installed
    chosen = stores.adapter_class(adapter)
    facts = conformance.Facts(
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
        await stores.build(adapter, HttpClients(time_limit)).aclose()  # says in words what is not set
        count: Counter[str] = Counter()
        async for verdict in conformance.run(chosen, facts, cases, time_limit=time_limit):
            count[verdict.result] += 1
            out.print(f"{MARKS[verdict.result]}  [bold]{escape(verdict.case.name)}[/bold]", highlight=False)
            if verdict.result == "fail":
                out.print(f"      promised: {verdict.case.promise}", highlight=False, markup=False)
            if verdict.why:
                out.print(f"      {verdict.why}", highlight=False, markup=False)
        return count

    count = run(work())
    out.print(f"{count['pass']} passed, {count['fail']} failed, {count['skip']} skipped", highlight=False)
    if count["fail"]:
        raise typer.Exit(1)


def _read(file: Path) -> tuple[dict[str, str], bytes]:
    try:
        given = json.loads(file.read_text())
        headers = {str(name).lower(): str(value) for name, value in given["headers"].items()}
        return headers, str(given["body_raw"]).encode()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file} is no webhook: JSON with an object `headers` and a text `body_raw` ({error})"
        ) from error
