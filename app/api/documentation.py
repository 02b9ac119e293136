"""The API's description: OpenAPI 3.1 at /openapi.json, Swagger UI at /docs, ReDoc at /redoc.

Pages, scripts and styles all come from this server (the assets of the package fastapi-offline), and the pages' policy
forbids any other origin: they look the same on a machine without a network.
"""

from collections.abc import Sequence
from typing import Any, Final  # OpenAPI documents are free-form JSON

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from platform_relay.api.platform_topics import webhook_operations
from platform_relay.api.problems import MEDIA_TYPE
from platform_relay.core.errors import Problem

OpenApi = dict[str, Any]  # free-form JSON
ASSETS: Final = "/docs/assets"
POLICY: Final = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'"
)
TAGS: Final = [
    {"name": "Events", "description": "What the store's backend reports: customers, orders, products."},
    {"name": "Webhooks", "description": "What the Platform reports."},
    {"name": "Jobs", "description": "What the relay owes because of it, for operators."},
    {"name": "Explain", "description": "Why an order, a customer or a coupon got what it got."},
    {"name": "Imports", "description": "What the store had before: files taken in, and what is missing."},
    {"name": "Reconciliation", "description": "What the store has, against what was received and delivered."},
    {"name": "Personal data", "description": "A person erased, or told what is held."},
    {"name": "Destinations", "description": "The destinations, and whether they are called now."},
    {"name": "Reward rules", "description": "What a redeemed reward is worth."},
    {"name": "Coupons", "description": "What was issued, or is held, and why."},
    {"name": "Health", "description": "For load balancers and monitoring; needs no key."},
]
SERVERS: Final[list[dict[str, Any]]] = [
    {"url": "/", "description": "This relay."},
    {
        "url": "{relay}",
        "description": "For Postman, Bruno and other programs.",
        "variables": {"relay": {"default": "http://127.0.0.1:8080", "description": "Where your relay is."}},
    },
]
DESCRIPTION: Final = """
The durable link between an online store and a loyalty platform.

* Every event that is answered with 2xx is committed to the database and will be delivered, in order, whatever fails.
* Send `Authorization: Bearer <key>`. Send an `Idempotency-Key` with events, and repeat a request that got no answer.
* Every refusal is a problem document (RFC 9457); its `type` is stable, its `next` says what to do.
"""
PROBLEM_SCHEMA: Final[OpenApi] = {
    "type": "object",
    "title": "Problem",
    "required": ["type", "title", "status", "detail", "next"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "Stable; see docs/errors.md."},
        "title": {"type": "string", "description": "What happened, the same for every occurrence."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "What happened this time, and why."},
        "next": {"type": "string", "description": "What to do about it."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
        "instance": {"type": "string", "format": "uri-reference", "description": "This one occurrence."},
    },
}


def refusals(*problems: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation that may answer these problems (and, as every one, an internal error)."""
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


def answer(description: str, example: object, media_type: str = "application/json") -> dict[str, Any]:
    """A response with its example."""
    return {"description": description, "content": {media_type: {"example": example}}}


def needs_key(scope: str) -> OpenApi:
    """`openapi_extra` of an operation that needs a key with this scope."""
    return {"security": [{"key": [scope]}]}


def body_of(model: type[BaseModel], example: object) -> OpenApi:
    """`requestBody` of an operation that reads the raw body itself."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def openapi(app: FastAPI, bodies: Sequence[type[BaseModel]]) -> OpenApi:
    """The whole document: FastAPI's own part, and what it cannot know, such as the `bodies` that are read raw."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        description=DESCRIPTION,
        tags=TAGS,
        servers=SERVERS,
        routes=app.routes,
    )
    _, read_raw = models_json_schema(
        [(model, "validation") for model in bodies], ref_template="#/components/schemas/{model}"
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    _without_validation_errors(document)
    schemas.update(read_raw["$defs"])
    schemas["Problem"] = PROBLEM_SCHEMA
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "The key that the relay's operator gave you."}
    }
    document["webhooks"] = webhook_operations()
    return document


def _without_validation_errors(document: OpenApi) -> None:
    """FastAPI announces its own shape of 422 wherever there is a parameter; ours are problems, or cannot happen."""
    for item in document["paths"].values():
        for operation in item.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    for unused in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(unused, None)


def install(app: FastAPI, bodies: Sequence[type[BaseModel]]) -> None:
    """Serve the description and its pages."""
    app.mount(ASSETS, StaticFiles(packages=[("fastapi_offline", "static")]), name="documentation-assets")

    async def description(_: Request) -> Response:
        if app.openapi_schema is None:
            app.openapi_schema = openapi(app, bodies)
        return JSONResponse(app.openapi_schema)

    async def swagger(request: Request) -> Response:
        return _page(request, _SWAGGER)

    async def redoc(request: Request) -> Response:
        return _page(request, _REDOC)

    app.add_route("/openapi.json", description, include_in_schema=False)
    app.add_route("/docs", swagger, include_in_schema=False)
    app.add_route("/redoc", redoc, include_in_schema=False)


def _page(request: Request, html: str) -> HTMLResponse:
    root = str(request.scope.get("root_path", "")).rstrip("/")
    return HTMLResponse(html.replace("{root}", root), headers={"content-security-policy": POLICY})


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
