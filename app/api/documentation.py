"""The API's documentation: OpenAPI 3.1 at /openapi.json, Swagger UI at /docs, ReDoc at /redoc.

This server serves all pages, scripts and styles itself (the assets of the package fastapi-offline), and the pages' content
security policy forbids any other origin. They work on a machine without a network.
"""

from collections.abc import Sequence
from typing import Any, Final  # OpenAPI documents are free-form JSON

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from platform_relay.api.platform_topics import webhook_operations
from platform_relay.api.problems import MEDIA_TYPE
from platform_relay.api.request_body import JsonBody
from platform_relay.api.root_path import outside, root_path_of
from platform_relay.core.errors import (
    BodyTooLarge,
    BodyTooSlow,
    DatabaseAway,
    EncodingRefused,
    FieldsInvalid,
    HeadersTooLarge,
    InternalError,
    KeyMissing,
    KeyRefused,
    NotJson,
    Problem,
    ScopeMissing,
    TooManyWrongKeys,
)

OpenApi = dict[str, Any]  # free-form JSON
KEY_PROBLEMS: Final = (
    KeyMissing, KeyRefused, ScopeMissing, TooManyWrongKeys, HeadersTooLarge, InternalError, DatabaseAway,
)  # fmt: skip
"""The problems of every operation that requires an API key."""
BODY_PROBLEMS: Final = (*KEY_PROBLEMS, BodyTooSlow, BodyTooLarge, EncodingRefused, NotJson, FieldsInvalid)
"""The problems of every such operation with a JSON body."""
ASSETS: Final = "/docs/assets"
POLICY: Final = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'"
)
TAGS: Final = [
    {"name": "Events", "description": "The store's backend reports customers, orders and products."},
    {"name": "Webhooks", "description": "The Platform and the store deliver their webhooks."},
    {
        "name": "Jobs",
        "description": "Jobs are the deliveries that events and webhooks require. Operators read, retry and drop them.",
    },
    {"name": "Explain", "description": "Why an order, a customer, a coupon or a message is in its state."},
    {"name": "Refused requests", "description": "The last requests that were refused, without their values."},
    {"name": "Imports", "description": "Import existing customers, products and orders from files."},
    {"name": "Reconciliation", "description": "Compare the store's data with what was received and delivered."},
    {"name": "Personal data", "description": "Erase or export the personal data of a customer."},
    {"name": "Destinations", "description": "The systems that the relay calls. Operators pause and resume them."},
    {"name": "Reward rules", "description": "The value of the coupons that the Platform's redeem rules lead to."},
    {"name": "Coupons", "description": "The coupons of redemptions and rewards, the ledger, and the issuance limits."},
    {"name": "Set-up", "description": "What works, what is missing, and what to do next."},
    {
        "name": "Trial",
        "description": "What a relay in its trial would have sent, compared with what the Platform and the store have, and the"
        " switch to live operation.",
    },
    {"name": "Console", "description": "Links that sign in to the console."},
    {"name": "Health", "description": "For load balancers and monitoring. No API key is needed."},
]
SERVERS: Final[list[dict[str, Any]]] = [
    {"url": "/", "description": "This relay."},
    {
        "url": "{relay}",
        "description": "For API clients such as Postman and Bruno.",
        "variables": {"relay": {"default": "http://127.0.0.1:8080", "description": "The base URL of your relay."}},
    },
]
DESCRIPTION: Final = """
Platform Relay connects an online store and a loyalty platform.

* The relay answers an event with 2xx only after it is committed to the database. It is then delivered in order, also after a
  failure or a restart.
* Send `Authorization: Bearer <key>`. Send an `Idempotency-Key` with events, and repeat a request that got no response.
* Every list returns `items` and `next_cursor`. Send `next_cursor` as `cursor` to get the next page, and `limit` to change its
  length, to at most 200 items.
* Every error is a problem document (RFC 9457). Its `type` is stable, and its `next_step` describes what to do.
"""
PROBLEM_SCHEMA: Final[OpenApi] = {
    "type": "object",
    "title": "Problem",
    "required": ["type", "title", "status", "detail", "next_step"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "The stable id of the error (docs/errors.md)."},
        "title": {"type": "string", "description": "What happened; the same text for every occurrence."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "What happened in this case, and why."},
        "next_step": {"type": "string", "description": "What to do."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
        "instance": {
            "type": "string",
            "format": "uri-reference",
            "description": "Identifies this occurrence, such as an incident in the log.",
        },
    },
}


def problem_responses(*problems: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """`responses` of an operation that can fail with these problems."""
    responses: dict[int | str, dict[str, Any]] = {}
    for problem in problems:
        response = responses.setdefault(
            problem.status,
            {
                "description": problem.title,
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        if problem.title not in response["description"]:
            response["description"] += f", or: {problem.title[:1].lower()}{problem.title[1:]}"
        response["content"][MEDIA_TYPE]["examples"][problem.id] = {"value": problem().document()}
        if "retry-after" in problem.headers:
            response["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return responses


def success(description: str, example: object, media_type: str = "application/json") -> dict[str, Any]:
    """A response with an example."""
    return {"description": description, "content": {media_type: {"example": example}}}


def needs_key(scope: str) -> OpenApi:
    """`openapi_extra` of a RawRoute whose endpoint requires a key with this scope."""
    return {"security": [{"key": [scope]}]}


def body_of(model: type[BaseModel], example: object) -> OpenApi:
    """`openapi_extra` of an operation that reads its body as a `model`."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def openapi(app: FastAPI, event_models: Sequence[type[BaseModel]]) -> OpenApi:
    """The OpenAPI document: FastAPI's own, with the request bodies (see JsonBody), problems and the Platform's webhooks."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        description=DESCRIPTION,
        tags=TAGS,
        servers=SERVERS,
        routes=app.routes,
    )
    _remove_validation_errors(document)
    models = [*event_models]
    for route in app.routes:
        if isinstance(route, APIRoute) and (body := _body(route)):
            models.append(body.model)
            for method in route.methods or ():
                document["paths"][route.path_format][method.lower()] |= body_of(body.model, body.example)
    _, schemas = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    document["components"]["schemas"] |= schemas["$defs"] | {"Problem": PROBLEM_SCHEMA}
    document["webhooks"] = webhook_operations()
    return document


def _body(route: APIRoute) -> JsonBody[BaseModel] | None:
    calls = [dependency.call for dependency in route.dependant.dependencies]
    return next((call for call in calls if isinstance(call, JsonBody)), None)


def _remove_validation_errors(document: OpenApi) -> None:
    """Remove FastAPI's own 422 responses: the relay answers with problem documents instead."""
    for item in document["paths"].values():
        for operation in item.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    for unused in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(unused, None)


def install(app: FastAPI, event_models: Sequence[type[BaseModel]]) -> None:
    """Add the OpenAPI document and its pages to `app`."""
    app.mount(ASSETS, StaticFiles(packages=[("fastapi_offline", "static")]), name="documentation-assets")

    async def openapi_json(request: Request) -> Response:
        if app.openapi_schema is None:
            app.openapi_schema = openapi(app, event_models)
        this_relay, *others = app.openapi_schema["servers"]
        servers = [this_relay | {"url": outside(request, "/")}, *others]
        return JSONResponse(app.openapi_schema | {"servers": servers})

    async def swagger(request: Request) -> Response:
        return _page(request, _SWAGGER)

    async def redoc(request: Request) -> Response:
        return _page(request, _REDOC)

    app.add_route("/openapi.json", openapi_json, include_in_schema=False)
    app.add_route("/docs", swagger, include_in_schema=False)
    app.add_route("/redoc", redoc, include_in_schema=False)


def _page(request: Request, html: str) -> HTMLResponse:
    return HTMLResponse(html.replace("{root}", root_path_of(request)), headers={"content-security-policy": POLICY})


_SWAGGER: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Platform Relay API</title>
<link rel="icon" href="{root}/docs/assets/favicon.png">
<link rel="stylesheet" href="{root}/docs/assets/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{root}/docs/assets/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({url: "{root}/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null});
</script>
</body>
</html>
"""

_REDOC: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Platform Relay API</title>
<link rel="icon" href="{root}/docs/assets/favicon.png">
<style>body { margin: 0 } a[href^="https://redocly.com"] { display: none }</style>
</head>
<body>
<redoc spec-url="{root}/openapi.json"></redoc>
<script src="{root}/docs/assets/redoc.standalone.js"></script>
</body>
</html>
"""
