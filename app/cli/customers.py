"""`relay erase customer` and `relay export customer`: a person's data."""

from typing import Annotated, Final

import typer
from rich.table import Table

from platform_relay.cli.parts import all_parts, run
from platform_relay.cli.terminal import out
from platform_relay.privacy.erase import COUNTED, Receipt, erase
from platform_relay.privacy.export import Export, export

ACTOR: Final = "cli"
erase_cli = typer.Typer(no_args_is_help=True, help="Forget a person.")
export_cli = typer.Typer(no_args_is_help=True, help="Hand out what is held about a person.")
Who = Annotated[str, typer.Argument(help="The store's id of the customer, or an e-mail address.")]


@erase_cli.command("customer")
def forget(
    customer: Who,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait for a job that runs right now.")] = 90.0,
    json: Annotated[bool, typer.Option("--json", help="The receipt for programs.")] = False,
) -> None:
    """Remove a person everywhere and print a receipt. What waits for delivery is dropped. Counts and the ledger stay."""

    async def work() -> Receipt:
        async with all_parts() as parts:
            return await erase(parts.engine, parts.operator, customer, ACTOR, patience=patience)

    receipt = run(work())
    if json:
        print(receipt.model_dump_json(indent=2))
        return
    table = Table(
        "what", "rows", title=f"Erasure {receipt.erasure}, {receipt.at:%Y-%m-%d %H:%M} UTC", title_justify="left"
    )
    for name in COUNTED:
        table.add_row(name, f"{getattr(receipt, name):,}")
    out.print(table)
    for title, lines in (("Stays:", receipt.stays), ("To do elsewhere:", receipt.next)):
        out.print(title, *(f"  - {line}" for line in lines), sep="\n", highlight=False)


@export_cli.command("customer")
def hand_out(customer: Who) -> None:
    """Print everything that is held about a person, as JSON. Exit code 1: nothing is."""

    async def work() -> Export:
        async with all_parts() as parts:
            return await export(parts.engine, customer, ACTOR)

    told = run(work())
    print(told.model_dump_json(indent=2))
    if told.empty:
        raise typer.Exit(1)
