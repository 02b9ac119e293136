"""Types of settings that several stores have."""

from typing import Annotated, Literal

from pydantic import Field, FilePath

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
