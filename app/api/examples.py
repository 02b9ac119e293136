"""Examples for the API's documentation that several modules use, or that are long."""

from typing import Final

from platform_relay.inbox.events import EventKind

EXAMPLES: Final[dict[EventKind, dict[str, object]]] = {
    EventKind.CUSTOMER: {
        "id": "42",
        "email": "ada@example.com",
        "firstName": "Ada",
        "lastName": "Example",
        "updatedAt": "2026-05-11T16:20:00Z",
    },
    EventKind.ORDER: {
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
    EventKind.PRODUCT: {
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
JOB_CURSOR: Final = "WyJqb2JzIiwiMDE5NzBjNWEtMWMxYi03ZTNhLTlkNTItNmYwYjVkM2MyYTEyIl0="
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
    "attempt_count": 1,
    "run_at": "2026-05-11T16:25:04Z",
    "created_at": "2026-05-11T16:25:01Z",
    "finished_at": None,
}
JOB_DETAIL: Final[dict[str, object]] = {
    **JOB,
    "attempts": [
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
EVENT_CURSOR: Final = "WyJldmVudHMiLCIwMTk3MGM1YS0xYzFiLTdlM2EtOWQ1Mi02ZjBiNWQzYzJhMTEiXQ=="
EVENT: Final[dict[str, object]] = {
    "id": ID,
    "received_at": "2026-05-11T16:25:01Z",
    "source": "store",
    "kind": "orders",
    "subject": "order:1001",
    "state": "waiting",
    "reason_code": "server_error",
    "text": "The Platform failed to process the request (HTTP 503): try later.",
    "facts": FACTS,
    "last_response": {
        "at": "2026-05-11T16:25:02Z",
        "outcome": "retry",
        "status": 503,
        "reason_code": "server_error",
        "text": "The Platform failed to process the request (HTTP 503): try later.",
    },
}
BATCH: Final = (
    '{"type":"customers","event":{"id":"42","email":"ada@example.com"}}\n'
    '{"type":"orders","event":{"id":"1001","customerId":"42","financialStatus":"paid","currency":"EUR",'
    '"totalPrice":"19.98"},"idempotencyKey":"order-1001-paid"}\n'
)
BATCH_ANSWER: Final = (
    f'{{"line":1,"id":"{ID}","status":"accepted","links":{{"self":"/v1/events/{ID}"}}}}\n'
    '{"line":2,"status":"refused","problem":{"type":"urn:platform-relay:problem:fields-invalid",'
    '"title":"Fields of the request body are missing or invalid","status":422,"detail":"`currency` is missing.",'
    '"next_step":"…","errors":[{"field":"currency","message":"is missing"}]}}\n'
)
COUPON: Final[dict[str, object]] = {
    "code": "0123456789ab",
    "state": "held",
    "reason_code": "no_value",
    "text": "No value is known for rule rule-7.",
    "next_step": "Add a reward rule (console, relay rules put), or set the value of this coupon. It then continues automatically.",
    "facts": {"rule": "rule-7"},
    "kind": "fixed_amount",
    "value": None,
    "currency": None,
    "value_source": None,
    "rule_id": "rule-7",
    "rule_version": None,
    "rule_edited": False,
    "email_changed": False,
    "verification": None,
    "points": 500,
    "customer": "Ada Lovelace",
    "orders": None,
    "decision": None,
    "redemption_id": "0a4f6f0e-7f0d-4e59-b0b3-3d1b8d3f4c77",
    "store_id": None,
    "message_id": ID,
    "received_at": "2026-05-11T16:25:01Z",
    "created_at": "2026-05-11T16:25:01Z",
    "updated_at": "2026-05-11T16:25:02Z",
    "active_at": None,
}
_COUNTS: Final = {"active": 1, "used": 1, "held": 0, "retired": 0, "points_returned": 0}
LEDGER: Final[dict[str, object]] = {
    "currencies": [
        {
            "currency": "EUR",
            "coupons": 2,
            "redeemed": "12.50",
            "active": "7.50",
            "used": "5.00",
            "held": "0",
            "retired": "0",
            "points_returned": "0",
            "counts": _COUNTS,
        }
    ],
    "kinds": [{"kind": "free_shipping", "coupons": 2, "counts": _COUNTS}],
    "refused": 0,
    "balanced": True,
}
