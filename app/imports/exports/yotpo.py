"""Yotpo Loyalty's file of customers and points.

Columns: https://support.yotpo.com/docs/importingexporting-points-and-customers. Birthdays are documented as MM/DD or MM/DD/YYYY.
"""

from typing import Final

from platform_relay.imports.exports.known import NO_ACCOUNT, NO_FIELD, POINTS, POINTS_NOTE, Export
from platform_relay.inbox.events import EventKind

CUSTOMERS: Final = Export(
    name="yotpo-customers",
    kind=EventKind.CUSTOMER,
    title="Yotpo Loyalty, customers",
    source="support.yotpo.com/docs/importingexporting-points-and-customers",
    signature=frozenset({"Email", "Points Balance", "Points Spent"}),
    fields={
        "email": ("Email",),
        "name": ("Full Name",),
        "firstName": ("First Name",),
        "lastName": ("Last Name",),
        "birthday": ("Birthday", "Birthday (MM/DD)", "Birthday (MM/DD/YYYY)"),
    },
    date_order="mdy",
    notes=(POINTS_NOTE,),
    unused={"Points *": POINTS, "*": NO_FIELD},
    missing={"id": f"{NO_ACCOUNT}. {POINTS_NOTE}".removesuffix(".")},
)
