"""Examples for the description of the events' operations."""

from typing import Final

from platform_relay.inbox.messages import Kind

EXAMPLES: Final[dict[Kind, dict[str, object]]] = {
    Kind.CUSTOMER: {
        "id": "42",
        "email": "ada@example.com",
        "firstName": "Ada",
        "lastName": "Example",
        "updatedAt": "2026-05-11T16:20:00Z",
    },
    Kind.ORDER: {
        "id": "1001",
        "customerId": "42",
        "email": "ada@example.com",
        "financialStatus": "paid",
        "currency": "EUR",
        "totalPrice": "19.98",
        "lineItems": [{"productId": "7", "title": "Teapot", "quantity": 2, "price": "9.99"}],
        "discountCodes": [{"code": "0123456789ab", "amount": "5.00"}],
        "updatedAt": "2026-05-11T16:25:00Z",
    },
    Kind.PRODUCT: {
        "id": "7",
        "title": "Teapot",
        "imageUrl": "https://shop.example.com/teapot.jpg",
        "status": "active",
        "variants": [{"externalVariantId": "7-blue", "title": "Blue", "position": 1}],
        "updatedAt": "2026-05-11T10:00:00Z",
    },
}
ID: Final = "01970c5a-1c1b-7e3a-9d52-6f0b5d3c2a11"
JOB_ID: Final = "01970c5a-1c1b-7e3a-9d52-6f0b5d3c2a12"
RECEIPT: Final[dict[str, object]] = {"id": ID, "status": "accepted", "links": {"self": f"/v1/events/{ID}"}}
FACTS: Final[dict[str, object]] = {"destination": "the Platform", "status": 503, "response": "try later"}
JOB: Final[dict[str, object]] = {
    "id": JOB_ID,
    "message_id": ID,
    "kind": "forward_order",
    "destination": "platform",
    "lane": "order:1001",
    "state": "waiting",
    "disposition": "retry",
    "reason_code": "server_error",
    "text": "The Platform failed to process the request (HTTP 503): try later.",
    "next_step": "The relay tries again automatically.",
    "facts": FACTS,
    "attempts": 1,
    "run_at": "2026-05-11T16:25:04Z",
    "created_at": "2026-05-11T16:25:01Z",
    "finished_at": None,
}
JOB_DETAIL: Final[dict[str, object]] = {
    **JOB,
    "tries": [
        {
            "number": 1,
            "started_at": "2026-05-11T16:25:02Z",
            "duration_ms": 48,
            "outcome": "retry",
            "status": 503,
            "reason_code": "server_error",
            "text": "The Platform failed to process the request (HTTP 503): try later.",
            "facts": FACTS,
            "excerpt": '{"message":"try later"}',
        }
    ],
}
MESSAGE: Final[dict[str, object]] = {
    "id": ID,
    "source": "store",
    "kind": "orders",
    "received_at": "2026-05-11T16:25:01Z",
    "size": 312,
    "state": "waiting",
    "text": "It is stored and waits to be sent; the reason is with each job.",
    "jobs": [JOB_DETAIL],
}
BATCH: Final = (
    '{"type":"customers","event":{"id":"42","email":"ada@example.com"}}\n'
    '{"type":"orders","event":{"id":"1001","customerId":"42","financialStatus":"paid","currency":"EUR",'
    '"totalPrice":"19.98"},"idempotencyKey":"order-1001-paid"}\n'
)
BATCH_ANSWER: Final = (
    f'{{"line":1,"id":"{ID}","status":"accepted","links":{{"self":"/v1/events/{ID}"}}}}\n'
    '{"line":2,"status":"refused","problem":{"type":"urn:platform-relay:problem:fields-invalid",'
    '"title":"Fields of the body are missing or wrong","status":422,"detail":"`currency` is missing.",'
    '"next":"…","errors":[{"field":"currency","message":"is missing"}]}}\n'
)
