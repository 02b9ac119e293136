"""The examples of imports in the documentation."""

from typing import Final

from platform_relay.api.examples import ID

EXAMPLE: Final = {
    "id": ID,
    "kind": "customers",
    "name": "http",
    "source": "http",
    "since": None,
    "state": "running",
    "size": 9_400_000,
    "position": 940_000,
    "last_row": 10_000,
    "rows": 10_000,
    "accepted": 9_998,
    "duplicates": 0,
    "newer": 1,
    "rejected": 1,
    "problems": [
        {
            "row": 17,
            "reason": "id: 1.23457E+15 is a long number that a spreadsheet shortened, so the id is lost; export the file again and"
            " do not save it with a spreadsheet",
        }
    ],
    "columns": [
        {
            "column": "Customer ID",
            "use": "field",
            "field": "id",
            "read": 9_999,
            "empty": 0,
            "unreadable": 1,
            "trimmed": 0,
            "unreadable_rows": [17],
            "reason": "1.23457E+15 is a long number that a spreadsheet shortened",
        },
        {
            "column": "Favourite colour",
            "use": "unused",
            "field": None,
            "read": 0,
            "empty": 0,
            "unreadable": 0,
            "trimmed": 0,
            "unreadable_rows": [],
            "reason": None,
        },
    ],
    "notes": ["Times without a time zone in Created count as UTC."],
    "rows_per_second": 3_300.0,
    "seconds_left": 27.0,
    "file_kept": True,
    "error": None,
    "cancelled_by": None,
    "created_at": "2026-05-11T16:25:01Z",
    "heartbeat_at": "2026-05-11T16:25:04Z",
    "finished_at": None,
}
DRY_RUN: Final = {
    "kind": "customers",
    "size": 9_400_000,
    "position": 9_400_000,
    "rows": 100_000,
    "accepted": 99_960,
    "duplicates": 31,
    "newer": 8,
    "rejected": 1,
    "problems": EXAMPLE["problems"],
    "columns": EXAMPLE["columns"],
    "notes": EXAMPLE["notes"],
    "error": None,
    "questions": [],
}
REJECTED: Final = '{"row": 17, "reason": "id: is missing", "values": {"Customer ID": "", "Email": "ada@example.com"}}\n'
