"""Types of settings that several stores have."""

from typing import Annotated, Final, Literal

from pydantic import Field, FilePath

OWN_SECRET: Final = "own_secret"  # noqa: S105  # a name
"""The name in `json_schema_extra` of a secret that the merchant chooses, so that `relay init` generates it: `hex`, or `whsec`
for a signing secret of Standard Webhooks."""
CaFile = Annotated[
    FilePath | None,
    Field(
        description="PEM file of a certificate authority. Set it if no public authority has signed the store's certificate."
    ),
]
OneCustomer = Annotated[
    Literal["refuse", "issue_unrestricted"],
    Field(
        description="What happens to a coupon for one customer, which this store cannot restrict: `refuse` rejects it,"
        " `issue_unrestricted` creates it for everyone who has the code."
    ),
]
