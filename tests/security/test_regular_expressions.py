"""Long text for every regular expression of the application: the time grows with the length, and no faster."""

import ast
import gc
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from re import _constants as codes  # the parser of the standard library has no public name
from re import _parser as parser  # the parser of the standard library has no public name
from typing import Any, Final  # Any: parse trees

import pytest

from platform_relay.imports.conversion import Reading, convert
from platform_relay.inbox.events import EventKind

APP: Final = Path(__file__).parents[2] / "app"
FUNCTIONS: Final = ("compile", "search", "match", "fullmatch", "split", "sub", "subn", "findall", "finditer")
LENGTH: Final = 2000
SUSPICIOUS_SECONDS: Final = 0.001
"""A pattern that needs less for LENGTH characters is linear: quadratic work takes ten times as long."""


@dataclass(frozen=True)
class Pattern:
    """A regular expression in the source. A `pattern=` of pydantic runs in another, linear engine; it has to be linear here as
    well, so that it may be moved."""

    place: str
    text: str
    flags: int

    def __str__(self) -> str:
        return f"{self.place} {self.text[:60]}"


def constant(node: ast.expr) -> str | None:
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str | bytes):
        return None
    return node.value if isinstance(node.value, str) else node.value.decode("latin-1")


def patterns() -> Iterator[Pattern]:
    for file in sorted(APP.rglob("*.py")):
        source = file.read_text("utf-8")
        if not re.search(r"\bre\b|\bpattern\b", source):
            continue  # parsing all files would take each of the test processes a second
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Call):
                continue
            place = f"{file.relative_to(APP)}:{node.lineno}"
            function = node.func
            if (
                isinstance(function, ast.Attribute)
                and isinstance(function.value, ast.Name)
                and function.value.id == "re"
                and function.attr in FUNCTIONS
            ):
                if isinstance(node.args[0], ast.Call) and ast.unparse(node.args[0].func) == "re.escape":
                    continue  # a text, without repetitions
                text = constant(node.args[0])
                assert text is not None, f"{place}: write the pattern as one text, so that it can be tested"
                yield Pattern(place, text, re.IGNORECASE if "IGNORECASE" in ast.unparse(node) else 0)
            for option in node.keywords:
                if option.arg == "pattern" and (text := constant(option.value)) is not None:
                    yield Pattern(place, text, 0)


PATTERNS: Final = tuple(patterns())


def characters(tree: Any) -> Iterator[str]:  # noqa: C901  # one case for each kind of part
    """Some characters that the parts of a pattern accept."""
    for code, argument in tree:
        if code is codes.LITERAL:
            yield chr(argument)
        elif code in (codes.NOT_LITERAL, codes.ANY):
            yield "a"
        elif code is codes.RANGE:
            yield chr(argument[0])
        elif code is codes.CATEGORY:
            yield {"CATEGORY_SPACE": " ", "CATEGORY_DIGIT": "1", "CATEGORY_NOT_WORD": "!"}.get(str(argument), "a")
        elif code is codes.IN:
            yield from characters([part for part in argument if part[0] is not codes.NEGATE])
        elif code is codes.BRANCH:
            for branch in argument[1]:
                yield from characters(branch)
        elif code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
            yield from characters(argument[2])
        elif code is codes.SUBPATTERN:
            yield from characters(argument[3])
        elif code in (codes.ASSERT, codes.ASSERT_NOT):
            yield from characters(argument[1])


def attacks(pattern: Pattern, length: int) -> Iterator[str]:
    """Texts of about `length` characters: each sequence of characters of the pattern, repeated, with and without a beginning
    that matches, and with an end that does not."""
    accepted = "".join(characters(parser.parse(pattern.text)))[:24]
    pumps = {
        *accepted,
        " ",
        "a",
        "\\",
        "1",
        accepted,
        accepted[:2],
        accepted[-2:],
        accepted[1:4],
        " a",
        "a!",
        "a.",
        "1.",
    } - {""}
    for pump in sorted(pumps):
        for beginning in ("", accepted):
            yield beginning + pump * (length // len(pump)) + "\x00"


def seconds(compiled: "re.Pattern[str]", text: str, runs: int = 1) -> float:
    """The least processor time to search, match and replace."""
    times = []
    for _ in range(runs):
        started = time.process_time()
        compiled.search(text)
        compiled.fullmatch(text)
        compiled.sub("", text)
        times.append(time.process_time() - started)
    return min(times)


@pytest.fixture(autouse=True, scope="module")
def without_garbage_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def slow(pattern: Pattern) -> str | None:
    """The beginning of a text for which the pattern needs more than linear time; None if there is none."""
    compiled = re.compile(pattern.text, pattern.flags)
    for length in (20, 250):  # first, because exponential or cubic work would not end with a long text
        for text in attacks(pattern, length):
            if seconds(compiled, text) > 0.02 and seconds(compiled, text, 3) > 0.02:
                return text[:30]
    for small, large in zip(attacks(pattern, LENGTH // 4), attacks(pattern, LENGTH), strict=True):
        if seconds(compiled, large) <= SUSPICIOUS_SECONDS or seconds(compiled, large, 3) <= SUSPICIOUS_SECONDS:
            continue
        if seconds(compiled, large, 3) > 9 * seconds(
            compiled, small, 3
        ):  # linear work takes 4 times as long, quadratic 16 times
            return large[:30]
    return None


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_four_times_the_text_takes_at_most_nine_times_as_long(pattern: Pattern) -> None:
    assert slow(pattern) is None


@pytest.mark.parametrize("text", [r"\s+(?=Z$)", r"(\d+\.?\d*)x", r"(a+)+$", r"(?:a|a)*b", r"\w+@"])
def test_a_slow_pattern_is_noticed(text: str) -> None:
    assert slow(Pattern("here", text, 0)) is not None


def test_every_pattern_is_tested() -> None:
    assert len(PATTERNS) > 30
    uses = sum(len(re.findall(r"\bre\.(?:compile|search|match|fullmatch|split|subn?|findall|finditer)\(", file.read_text("utf-8")))
               for file in APP.rglob("*.py"))  # fmt: skip
    assert sum("pattern" not in pattern.place for pattern in PATTERNS) >= uses


@pytest.mark.parametrize(
    "field", ["createdAt", "updatedAt", "tags", "currency", "birthdayMonth", "financialStatus", "totalPrice"]
)
@pytest.mark.parametrize("pump", [" ", "1", "-", ";", "a ", "Z ", "+0"])
def test_a_long_field_of_a_file_takes_no_time(field: str, pump: str) -> None:
    row = {"x": f"2026-05-11{pump * (60_000 // len(pump))}\x00", "id": "1"}
    started = time.process_time()
    convert(EventKind.ORDER, row, {field: "x", "id": "id"}, Reading(), flat=True)
    assert time.process_time() - started < 0.5
