"""Smile.io's export of customers.

Columns: headers in public programs that read the export (the help pages describe how to export, and not the columns:
https://help.smile.io). `Smile Customer ID` is Smile.io's own id and none of the store.
"""

from typing import Final

from platform_relay.imports.exports.known import NO_ACCOUNT, NO_FIELD, POINTS, POINTS_NOTE, Export
from platform_relay.inbox.events import EventKind

CUSTOMERS: Final = Export(
    name="smile-customers",
    kind=EventKind.CUSTOMER,
    title="Smile.io, customers",
    source="headers in public programs that read the export",
    signature=frozenset({"Smile Customer ID", "Email", "Membership status", "Points balance"}),
    fields={
        "email": ("Email",),
        "firstName": ("First name",),
        "lastName": ("Last name",),
        "birthday": ("Date of birth",),
    },
    notes=(POINTS_NOTE,),
    unused={
        "Smile Customer ID": "it is an id of Smile.io, not of the store",
        "Membership status": NO_FIELD,
        "Points balance": POINTS,
        "Referral url": "it leads to Smile.io",
        "Vip tier name": POINTS,
    },
    missing={"id": f"{NO_ACCOUNT}. {POINTS_NOTE}".removesuffix(".")},
)
