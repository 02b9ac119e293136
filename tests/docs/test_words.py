"""Retired words stay out of the code, the help texts and the documents: docs/glossary.md has one word for each thing.

`python -m tests.docs.test_words` prints every place, `python -m tests.docs.test_words app/queue` those of one folder.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
FILES: Final = (
    "app/**/*.py",
    "app/console/templates/**/*.html",
    "app/console/static/*.js",
    "migrations/**/*.py",
    "docs/**/*.md",
    "*.md",
    "integrations/*/README.md",
    "simulators/README.md",
    "deploy/**/*.y*ml",
    "docker-compose.yml",
    "Makefile",
    ".env.example",
)


@dataclass(frozen=True)
class Word:
    """`pattern` is searched without regard to case, in text whose identifiers are split into words (`far_side` and
    `FarSide` become `far side`). `allowed` are patterns of the original text that are removed before; `files` are
    folders and files (prefixes of paths) where the word is allowed."""

    pattern: str
    instead: str
    allowed: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


WORDS: Final = (
    # Terms of the glossary.
    Word(r"far sides?", "destination"),
    Word(r"doors?", "endpoint; webhook secret"),
    Word(r"owe[sd]?|owing", "requires; follow-up job, enqueue; open jobs"),
    Word(r"take[sn]? on|took on", "enqueue"),
    Word(r"claim numbers?", "fencing token"),
    Word(r"slots?", "concurrency", (r"slots=True", r"__slots__")),
    Word(r"gates?", "circuit breaker; destination"),
    Word(
        r"throttle[sd]?|throttling",
        "rate limited",
        (
            r"(?i)auth[_ ]?throttle",
            r"\bthrottle(?=\.| =| limits)",
            r"_throttle\b",
            r"THROTTLED",
            r"throttleStatus",
            r"status\.throttled",
        ),
    ),
    Word(r"paces?|paced|pacing", "rate, rate limit"),
    Word(r"g[ia]ven? up|giv(?:es?|ing) up|gave up", "dead-lettered, exhausted"),
    Word(r"stuck", "dead and held"),
    Word(r"piles?", "failure group"),
    Word(r"fuses?|blown?|blows", "issuance limit, reached"),
    Word(r"patrols?|patrolled|tours?", "drift check", (r"tour\.md",), ("docs/tour.md", "app/platform")),
    Word(r"judg(?:e[sd]?|ing|e?ments?)", "diagnose; compare; decide"),
    Word(r"pulse|the books", "statistics, counts"),
    Word(r"desks?", "actions"),
    Word(r"news", "loyalty sync", (r"news:",)),
    Word(r"reach(?=[:=])", "egress policy"),
    Word(r"seal(?:s|ed|ing)?|unsealed", "encrypt", (r"encrypted:1:",)),
    Word(r"ticks?", "periodic task", (r"ticks: \{ show",), ("docs/adr/0022",)),
    Word(r"proofs?|provers?|(?:un|dis)?proven", "verification", (r"reconcile-proof",), ("docs/adr",)),
    Word(r"promise[sd]?", "guarantee", (r"\bPromise\b",)),
    Word(r"dice", "random"),
    Word(r"chance", "random; entropy"),
    Word(r"cells?", "(deleted)", (), ("app/imports", "app/console", "app/cli/imports.py")),
    Word(r"shoppers?", "customer"),
    Word(
        r"shops?",
        "store",
        (
            r"(?i)shopify\w*",
            r"(?i)shopware",
            r"(?i)(?:platform__)?shop[_ -]key|sim-shop",
            r"shop manager",
            r"\"shop\": self\._",  # a parameter of the Launcher
            r"\"Shop(?:NotFound|Required)\"",  # codes of the Launcher
            r"simulators\", \"shop\"",
            r"--shop-url",
            r"woocommerce_rest_shop\w+",
            r"[\w.]*\bshop\.example\b",
            r"shop_[ab]\b",
            r"your-shop\b",
            r"/shop\b",
            r"\bshop_\w+(?:\.py)?`",
            r"ShopConfig|shop\.py|simulators shop|\| shop \|",
        ),
        ("app/stores/shopify", "docs/stores/shopify.md", "docs/glossary.md"),
    ),
    Word(
        r"person|somebody's|anybody|whoever|nobody",
        "customer; operator; the actor",
        (r"`nobody`|nobody@|\"nobody\"",),
        ("docs/glossary.md",),
    ),
    # Code that acts like a person, and idioms.
    Word(r"says?|said|saying", "shows, contains, means; name the field"),
    Word(r"tells?|told|telling", "shows, returns, contains", (r"\.tell\(\)",)),
    Word(r"hears?|heard", "receives"),
    Word(r"wish(?:es|ed)?", "requested delay"),
    Word(r"mend(?:s|ed|ing)?", "fix, repair"),
    Word(r"by itself|by themselves", "automatically; alone"),
    Word(r"all the same", "still; the same"),
    Word(r"go(?:es|ing)? on|went on", "continues"),
    Word(r"in words", "(leave out)"),
    Word(r"of (?:ours|yours)", "the relay's; your"),
    Word(r"for good", "permanently"),
    Word(r"for ever", "without limit"),
    Word(r"anew", "again"),
    Word(r"look(?:s|ed)? after", "maintains, checks"),
    Word(r"stands?", "is", (r"stand-?alone",)),
    Word(r"hinder(?:s|ed)?", "prevented"),
    Word(r"crowds?", "many requests"),
    Word(r"nought", "zero"),
)
NAMES: Final = frozenset({"told", "found", "said", "each", "whole", "asked", "wanted", "made"})
"""Names of variables and parameters that do not say what the value is."""

ALLOWED: Final = (r"\btests/[\w/.]+(?:::\w+)?", r"\btest_\w+", r"\bimages/\w+\.png", r"\[[\w ]*tour[\w ]*\]\(")
"""Names of tests and of pictures."""

_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_GAP: Final = r"[\s#]+"
"""Between the words of a phrase: it may be wrapped, in a comment too."""
_COMPILED: Final = [(word, re.compile(rf"\b(?:{word.pattern.replace(' ', _GAP)})\b", re.IGNORECASE)) for word in WORDS]


class Place(NamedTuple):
    path: str
    line: int
    text: str
    instead: str


def places(path: Path) -> Iterator[Place]:
    """Every retired word of a file, and every variable with a name that means nothing."""
    name, text = str(path.relative_to(ROOT)), path.read_text("utf-8")
    usual = without(ALLOWED, text)
    split = split_identifiers(usual)
    for word, pattern in _COMPILED:
        if name.startswith(word.files) and word.files:
            continue
        cleaned = split_identifiers(without(word.allowed, usual)) if word.allowed else split
        for match in pattern.finditer(cleaned):
            line = cleaned.count("\n", 0, match.start()) + 1
            yield Place(name, line, " ".join(match[0].replace("#", " ").split()), word.instead)
    if path.suffix == ".py":
        for number, variable in variables(ast.parse(text)):
            if variable in NAMES:
                yield Place(name, number, variable, "a name that says what it is")


def without(allowed: Iterable[str], text: str) -> str:
    """The text with dashes in place of what these patterns match."""
    for pattern in allowed:
        text = re.sub(pattern, lambda match: "-" * len(match[0]), text)
    return text


def split_identifiers(text: str) -> str:
    return _CAMEL.sub(" ", text.replace("_", " "))


def variables(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg


def all_places() -> list[Place]:
    paths = sorted({path for pattern in FILES for path in ROOT.glob(pattern) if path.is_file()})
    return [place for path in paths if "app/migrations/" not in str(path) for place in places(path)]


def by_file(offenders: list[Place]) -> str:
    """One line for each file, those with the most places first, with the words and how often each occurs."""
    lines = []
    files: dict[str, list[Place]] = {}
    for place in offenders:
        files.setdefault(place.path, []).append(place)
    for path, there in sorted(files.items(), key=lambda item: (-len(item[1]), item[0])):
        words = [place.text.lower() for place in there]
        counts = sorted({word: words.count(word) for word in words}.items(), key=lambda item: (-item[1], item[0]))
        lines.append(f"{len(there):5} {path}: {', '.join(f'{word} {count}' for word, count in counts)}")
    return "\n".join(lines)


def test_no_retired_word_is_used() -> None:
    offenders = all_places()
    assert not offenders, f"{len(offenders)} retired words (docs/glossary.md has the terms):\n{by_file(offenders)}"


def test_identifiers_are_split_into_words() -> None:
    assert split_identifiers("far_side FarSide _told") == "far side Far Side  told"
    [shop] = [pattern for word, pattern in _COMPILED if word.instead == "store"]
    assert shop.search(split_identifiers("shop_currency"))
    assert {name for _, name in variables(ast.parse("def f(told):\n    found = told"))} == {"told", "found"}


def main() -> None:
    prefixes = tuple(sys.argv[1:]) or ("",)
    offenders = [place for place in all_places() if place.path.startswith(prefixes)]
    for place in offenders:
        print(f"{place.path}:{place.line}: {place.text} -> {place.instead}")  # noqa: T201
    print(f"{by_file(offenders)}\n{len(offenders):5} in all")  # noqa: T201


if __name__ == "__main__":
    main()
