"""`relay privacy`: export and erase the data of one customer."""

from typing import Annotated

import typer
from rich.table import Table

from platform_relay.cli.context import run, services
from platform_relay.cli.numbers import NUMBER, number
from platform_relay.cli.terminal import ACTOR, out, print_json
from platform_relay.privacy.erase import erase
from platform_relay.privacy.export import CustomerExport, export
from platform_relay.privacy.receipt import COUNTED, ErasureReceipt

privacy_cli = typer.Typer(no_args_is_help=True, help="Export and erase the data of one customer.")
Customer = Annotated[str, typer.Argument(help="The store's id of the customer, or an e-mail address.")]


@privacy_cli.command("erase")
def erase_customer(
    customer: Customer,
    patience: Annotated[
        float, typer.Option(parser=number(0), metavar=NUMBER, help="Seconds to wait for running jobs.")
    ] = 90.0,
    json: Annotated[bool, typer.Option("--json", help="Print the receipt as JSON.")] = False,
) -> None:
    """Erase a customer's personal data and print a receipt. Waiting jobs are dropped; counts and the ledger stay."""

    async def work() -> ErasureReceipt:
        async with services() as parts:
            return await erase(parts.engine, parts.actions, customer, ACTOR, patience=patience)

    receipt = run(work())
    if json:
        print_json(receipt.model_dump_json(indent=2))
        return
    table = Table(
        "what", "rows", title=f"Erasure {receipt.erasure}, {receipt.at:%Y-%m-%d %H:%M} UTC", title_justify="left"
    )
    for name in COUNTED:
        table.add_row(name, f"{getattr(receipt, name):,}")
    out.print(table)
    for title, lines in (("Kept:", receipt.kept), ("To do elsewhere:", receipt.next_steps)):
        out.print(title, *(f"  - {line}" for line in lines), sep="\n")


@privacy_cli.command("export")
def export_customer(customer: Customer) -> None:
    """Print everything that is stored about a customer, as JSON. Exit code 1: nothing is stored."""

    async def work() -> CustomerExport:
        async with services() as parts:
            return await export(parts.engine, customer, ACTOR)

    result = run(work())
    print_json(result.text(indent=2).decode())
    if result.empty:
        raise typer.Exit(1)
