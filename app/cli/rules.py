"""`relay rules`: the operator's reward rules."""

import sys
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.table import Table

from platform_relay.cli.context import database_engine, run, services
from platform_relay.cli.terminal import ACTOR, out
from platform_relay.core import exact_json
from platform_relay.core.field_rules import message_of
from platform_relay.coupons import reward_rules
from platform_relay.coupons.reward_rules import RewardRuleActions, RewardRuleDefinition

rules_cli = typer.Typer(no_args_is_help=True, help="Define what the Platform's redeem rules are worth.")


@rules_cli.command("put")
def put_rule(
    rule_id: Annotated[str, typer.Argument(help="The rule's id at the Platform, as redemptions name it.")],
    definition: Annotated[
        str,
        typer.Argument(help='JSON, e.g. \'{"kind": "fixed_amount", "value": "5.00"}\'. Use - to read standard input.'),
    ],
) -> None:
    """Define what a rule is worth. Held redemptions of this rule continue at once."""
    raw = sys.stdin.read() if definition == "-" else definition
    try:
        parsed = exact_json.validated(RewardRuleDefinition, raw.encode())
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'definition'}: {message_of(item)}" for item in error.errors()
        )
        raise ValueError(f"The definition is invalid: {problems}") from None

    async def work() -> int:
        async with services() as parts:
            _, woken = await RewardRuleActions(parts.engine, parts.actions).put(rule_id, parsed, ACTOR)
            return woken

    out.print(f"Stored. {run(work())} held redemptions continue.")


@rules_cli.command("list")
def list_rules() -> None:
    """List the reward rules in force."""

    async def work() -> None:
        table = Table("id", "version", "definition")
        async with database_engine() as engine, engine.connect() as connection:
            for rule in await reward_rules.listing(connection):
                definition = rule.definition.model_dump_json(exclude_none=True) if rule.definition else ""
                table.add_row(rule.id, str(rule.version), definition)
        out.print(table)

    run(work())


@rules_cli.command("delete")
def delete_rule(rule_id: Annotated[str, typer.Argument(help="The rule's id.")]) -> None:
    """Delete a reward rule. Its versions are kept for the record."""

    async def work() -> bool:
        async with services() as parts:
            return await RewardRuleActions(parts.engine, parts.actions).delete(rule_id, ACTOR)

    if not run(work()):
        raise ValueError(f"There is no rule {rule_id!r}. List the rules with: relay rules list")
