"""`relay explain`: why is an order, a customer, a coupon or a message as it is?"""

from typing import Annotated

import typer

from platform_relay.cli.parts import own_engine, run
from platform_relay.explain.gather import explain
from platform_relay.explain.records import Key
from platform_relay.explain.story import Explanation, in_text


def why(
    by: Annotated[Key, typer.Argument(help="What is asked for.")],
    key: Annotated[
        str, typer.Argument(help="The store's id of it; of a customer also the e-mail address; a coupon's code.")
    ],
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Explain why this order, customer, coupon or message is as it is: the cause first, then the whole story."""

    async def work() -> Explanation:
        async with own_engine() as engine, engine.connect() as connection:
            return await explain(connection, by, key)

    explanation = run(work())
    print(explanation.model_dump_json(indent=2) if json else in_text(explanation))
    if not explanation.found:
        raise typer.Exit(1)
