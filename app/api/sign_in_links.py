"""One-time links that open the console, for scripts that have a key and print a link for an operator."""

from datetime import datetime
from typing import Final

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request

from platform_relay.access.sign_in_links import create_link
from platform_relay.api.authentication import OperateAccess, digest_of_header
from platform_relay.api.dependencies import ServicesDep
from platform_relay.api.documentation import KEY_PROBLEMS, problem_responses, success
from platform_relay.core.database import map_database_errors


class SignInLinkView(BaseModel):
    url: str = Field(description="Opens a page of the console with a button that signs in. Keep it secret.")
    expires_at: datetime


router: Final = APIRouter(prefix="/v1/sign-in-links", tags=["Console"])
_LINK: Final = {
    "url": "https://relay.example/console/sign-in?secret=kYQ6mC0ZbS0v1lq1sUPt5s0rY0xw7zq7tqjZ8Jd3f5E",
    "expires_at": "2026-05-11T16:35:00Z",
}


@router.post(
    "",
    operation_id="create_sign_in_link",
    summary="Create a link that signs in to the console once",
    status_code=201,
    responses={201: success("The link.", _LINK), **problem_responses(*KEY_PROBLEMS)},
)
async def create(request: Request, services: ServicesDep, caller: OperateAccess) -> SignInLinkView:
    """The link works once, within 10 minutes. The session has the scopes of your key, and ends when the key is revoked."""
    async with map_database_errors():
        link = await create_link(services.engine, digest_of_header(request), caller.name)
    url = request.url.replace(path="/console/sign-in", query=f"secret={link.secret}")
    return SignInLinkView(url=str(url), expires_at=link.expires_at)
