"""The event that every contender stores and sends: a customer, of a given size in bytes."""

from typing import Final

HEAD: Final = (
    b'{"id":"%(id)s","email":"%(id)s@example.com","firstName":"Jane","lastName":"Example","phone":"+4930123456",'
    b'"tags":["newsletter","vip"],"createdAt":"2026-01-01T12:00:00Z","updatedAt":"2026-02-01T12:00:00Z","note":"'
)
TAIL: Final = b'"}'


def template(size: int) -> bytes:
    """A body of about `size` bytes with `%(id)s` twice where the id, 16 characters, belongs."""
    padding = size - len(HEAD) - len(TAIL) - 2 * (16 - len(b"%(id)s"))
    return HEAD + b"x" * max(0, padding) + TAIL


def wrong_template(size: int) -> bytes:
    """The body of `template`, with an e-mail address and a telephone number that no endpoint accepts."""
    body = template(size).replace(b'"%(id)s@example.com"', b'"no address"').replace(b'"+4930123456"', b"4930123456")
    return body + b" " * (size - len(body) - (16 - len(b"%(id)s")))


def entity_id(series: int, number: int) -> str:
    """16 characters; `series` keeps runs apart (below 2**28)."""
    return f"c{series:07x}{number:08d}"


def customer(size: int, identifier: str) -> bytes:
    return template(size) % {b"id": identifier.encode()}
