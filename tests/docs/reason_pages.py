"""docs/reason-codes.md and docs/explain.md, made from the code: every reason code, and every cause that explain names.

`python -m tests.docs.reason_pages` writes them anew.
"""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from platform_relay.core.reason_texts.rendering import TEXTS
from platform_relay.core.reasons import ALERTS, ReasonCode
from platform_relay.explain import causes
from platform_relay.explain.causes import CAUSES, Cause, Rank, Step

DOCS: Final = Path(__file__).parents[2] / "docs"
CODES_PAGE: Final = DOCS / "reason-codes.md"
EXPLAIN_PAGE: Final = DOCS / "explain.md"
RANKS: Final = {
    Rank.FINE: "fine",
    Rank.FOR_INFORMATION: "for information",
    Rank.AUTOMATIC: "continues automatically",
    Rank.NEEDS_OPERATOR: "needs an operator",
    Rank.DEAD: "dead-lettered",
}
TABLES: Final = (
    ("A destination is blocked", causes.BLOCKED, "destination_blocked"),
    ("A job is retried", causes.RETRIED, "failing"),
    ("A job is parked, or a coupon is held", causes.PARKED, "coupon_held or waiting_for_turn"),
    ("A job was rejected and is dead-lettered", causes.DEAD, "rejected or rejected_by_store"),
)

CODES_INTRO: Final = """# Reason codes

<!-- Made from app/core/reasons.py and app/core/reason_texts: python -m tests.docs.reason_pages -->

Every outcome other than plain success, every job that waits, is held or dead-lettered, every held coupon, closed destination and
alert has a reason: a stable code and facts. The API and the CLI show them as `reason_code` and `facts`, beside the rendered
`text` and `next_step`. Codes are never renamed or removed; texts may change at any time, so programs should use the code and
the facts. Filter by code in the console and with `GET /v1/jobs?reason_code=…`, and count by it in the metrics
([operations](operations.md)).

In the texts below, `{name}` is a fact, and a part in square brackets is left out when its fact is missing. The next step of a dead
job whose disposition is `exhausted` or `crashed` is always: remove the cause, then retry the job, or drop it.
"""
EXPLAIN_INTRO: Final = """# Explain

<!-- Made from app/explain/causes.py: python -m tests.docs.reason_pages -->

`relay explain order 1001` (or `order:1001`), `GET /v1/explain?order=1001` and the console's *Search* show why an order, a
customer, a coupon or a message is in its state: a cause, what happens next, the steps for an operator, and everything that
happened. The cause is decided by states, dispositions, statuses and [reason codes](reason-codes.md), never by a text. Where a
reason code decides, text and next step are those of the code (an empty field), unless the table has others; then `confidence`
is always `certain`. It is `likely` when nothing was found, or when a row from before reason codes has only a text.

Several causes are shown with the highest rank first. A step has a `text` and, where there is one, the `api` call or the
`command` that does it.
"""


def codes_page() -> str:
    """docs/reason-codes.md."""
    parts = [CODES_INTRO]
    for title, codes in _sections():
        rows = [(f"`{code}`", TEXTS[code].text, TEXTS[code].next_step, _alert(code)) for code in codes]
        parts.append(f"## {title}\n\n{_table(('code', 'text', 'next step', 'alert'), rows)}")
    return "\n".join(parts)


def explain_page() -> str:
    """docs/explain.md."""
    parts = [EXPLAIN_INTRO]
    for rank in Rank:
        rows = [
            (f"`{name}`", _or_code(cause.text, "text"), _or_code(cause.next_step, "next_step"), _steps(cause.steps))
            for name, cause in CAUSES.items()
            if cause.rank is rank
        ]
        header = ("cause", "text", "next step", "steps")
        parts.append(f"## Rank {rank.value}: {RANKS[rank]}\n\n{_table(header, rows)}")
    parts.append("## Which code leads to which cause\n")
    for title, codes, otherwise in TABLES:
        by_cause: dict[str, list[str]] = {}
        for code, name in codes.items():
            by_cause.setdefault(name, []).append(f"`{code}`")
        leads = [(f"`{name}`", ", ".join(each)) for name, each in by_cause.items()]
        leads.append((", ".join(f"`{name}`" for name in otherwise.split(" or ")), "any other"))
        parts.append(f"### {title}\n\n{_table(('cause', 'reason codes'), leads)}")
    settings = ", ".join(f"`{name}`" for name in sorted(causes.VERIFICATION_SETTINGS))
    parts.append(f"A held coupon whose reason names one of the settings {settings} has the cause `cannot_confirm`.\n")
    return "\n".join(parts)


def _sections() -> Iterable[tuple[str, list[ReasonCode]]]:
    """The sections of the enum, by the comments between its members."""
    for title, members in re.findall(r"# -{10,} (.+)\n((?:\s*[A-Z_]+ = .*\n)+)", inspect.getsource(ReasonCode)):
        yield title[:1].upper() + title[1:], [ReasonCode[name] for name in re.findall(r"([A-Z_]+) =", members)]


def _alert(code: ReasonCode) -> str:
    return f"[yes](runbook.md#{code.value.replace('_', '-')})" if code in ALERTS else ""


def _or_code(template: str, field: str) -> str:
    defaults: Mapping[str, object] = {name: each.default for name, each in Cause.__dataclass_fields__.items()}
    return "" if template == defaults[field] else template


def _steps(steps: Sequence[Step]) -> str:
    shown = []
    for step in steps:
        calls = [f"`{call}`" for call in (step.api, step.command) if call]
        shown.append(step.text + (f" {' or '.join(calls)}" if calls else ""))
    return "<br>".join(shown)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"


def main() -> None:
    CODES_PAGE.write_text(codes_page(), "utf-8")
    EXPLAIN_PAGE.write_text(explain_page(), "utf-8")


if __name__ == "__main__":
    main()
