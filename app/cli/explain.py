"""`relay explain`."""

from typing import Annotated, Final, get_args

import typer

from platform_relay.cli.context import database_engine, read_settings, run
from platform_relay.cli.terminal import out, print_json
from platform_relay.explain import collect
from platform_relay.explain.explanation import Explanation, as_text
from platform_relay.explain.records import Key

KINDS: Final[tuple[Key, ...]] = get_args(Key)


def explain(
    by: Annotated[
        str, typer.Argument(help="What to explain: order, customer, coupon or message; or both, such as order:1001.")
    ],
    key: Annotated[
        str | None,
        typer.Argument(help="The store's id; for a customer also the e-mail address; for a coupon its code."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Explain the state of an order, customer, coupon or message: cause first, then history. Exit code 1: nothing found."""
    kind, value = subject_of(by, key)

    async def work() -> Explanation:
        history = read_settings(calls_store=False).history
        async with database_engine() as engine, engine.connect() as connection:
            return await collect.explain(connection, kind, value, history)

    explanation = run(work())
    if json:
        print_json(explanation.model_dump_json(indent=2))
    else:
        out.print(as_text(explanation))
    if not explanation.matched:
        raise typer.Exit(1)


def subject_of(by: str, key: str | None) -> tuple[Key, str]:
    """What to explain: `order 1001`, or in one word `order:1001`, as the relay prints it, or `order=1001`, as in the API.

    Raises typer.BadParameter.
    """
    if key is None:
        separator = next((character for character in by if character in ":="), "")
        by, _, key = by.partition(separator) if separator else (by, "", "")
    kind = next((kind for kind in KINDS if kind == by), None)
    if kind is None:
        raise typer.BadParameter(f"{by!r} is not one of {', '.join(KINDS)}. Write it like: relay explain order 1001")
    if not key.strip():
        raise typer.BadParameter(f"Which {kind}? Write it like: relay explain {kind} ID")
    return kind, key
