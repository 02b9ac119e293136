"""`relay explain`."""

from typing import Annotated

import typer

from platform_relay.cli.context import database_engine, run
from platform_relay.cli.terminal import out, print_json
from platform_relay.explain import collect
from platform_relay.explain.explanation import Explanation, as_text
from platform_relay.explain.records import Key


def explain(
    by: Annotated[Key, typer.Argument(help="What to explain.")],
    key: Annotated[
        str, typer.Argument(help="The store's id; for a customer also the e-mail address; for a coupon its code.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Explain the state of an order, customer, coupon or message: cause first, then history. Exit code 1: nothing found."""

    async def work() -> Explanation:
        async with database_engine() as engine, engine.connect() as connection:
            return await collect.explain(connection, by, key)

    explanation = run(work())
    if json:
        print_json(explanation.model_dump_json(indent=2))
    else:
        out.print(as_text(explanation))
    if not explanation.matched:
        raise typer.Exit(1)
