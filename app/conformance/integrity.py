"""The requirements that only show on the wire, or with a second process: nothing is read from the adapter's own notes, nothing is
rounded, no other coupon is touched."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final  # Any: fields of a spec, by name

from platform_relay.conformance.fault_injection import Fault, RecordedCall
from platform_relay.conformance.sandbox import (
    Sandbox,
    Skipped,
    Violation,
    describe,
    describe_differences,
    rejected_fields,
)
from platform_relay.conformance.wire import (
    Occurrence,
    document_of,
    is_like,
    occurrences,
    replaced,
    respelled,
    with_body,
)
from platform_relay.core.http_messages import Request
from platform_relay.core.logs import secrets_of
from platform_relay.core.outcomes import Blocked, Done, Reject, Retry, Unknown
from platform_relay.core.reasons import ReasonCode
from platform_relay.stores.base import CouponKind, differences

ALTERED: Final[Mapping[str, tuple[Decimal, Decimal]]] = {
    "value": (Decimal("12.34"), Decimal("11.34")),
    "minimum_spend": (Decimal("56.78"), Decimal("36.78")),
    "usage_limit": (Decimal(9173), Decimal(9172)),
}
"""The numbers that are altered on the way to the store: as requested, and as the store receives them."""
AMOUNTS: Final = ("value", "minimum_spend")
"""Each occurrence of an amount must be noticed. A store may ignore a second field with the usage limit."""
PRECISE: Final[Mapping[str, Mapping[str, Any]]] = {  # Any: as above
    "a tenth of a cent": {"value": Decimal("5.005")},
    "a large amount": {"value": Decimal("123456789.01")},
    "thousandths of a percent": {"kind": CouponKind.PERCENTAGE, "value": Decimal("12.345"), "currency": None},
    "a minimum spend of less than a cent": {"minimum_spend": Decimal("30.005")},
}
LOOKUPS: Final = 4


async def an_altered_number_is_noticed(field: str, sandbox: Sandbox) -> None:
    """A number is a value of its own in the request. If the store receives another one at one single place, it is noticed."""
    if field in sandbox.adapter_class.CANNOT:
        raise Skipped(f"the store does not support {field}")
    requested, _ = ALTERED[field]
    calls = await _creation(sandbox, **_fields(field))
    places = [
        (number, occurrence)
        for number, call in enumerate(calls)
        for occurrence in occurrences(document_of(call.body), requested)
    ]
    if not any(document_of(call.body) for call in calls):
        raise Skipped("the requests are not JSON")
    separate = [(number, occurrence) for number, occurrence in places if occurrence.separate]
    if not separate:
        raise Violation(f"{requested} is in no field of its own in the requests: the store does not apply it")
    if field == "minimum_spend" and all(occurrence.counts_items for _, occurrence in separate):
        raise Violation("the minimum spend is sent as a number of items")
    ignored = [problem for place in separate if (problem := await _alter(sandbox, field, *place))]
    if ignored and (field in AMOUNTS or len(ignored) == len(separate)):
        raise Violation(ignored[0])


def _fields(field: str) -> dict[str, Decimal | int]:
    requested, _ = ALTERED[field]
    return {field: int(requested) if field == "usage_limit" else requested}


async def _creation(sandbox: Sandbox, **fields: Decimal | int) -> list[RecordedCall]:
    """The calls that create a coupon, without the calls whose results the adapter keeps."""
    await sandbox.adapter.check()
    for _ in range(2):
        sandbox.network.mark()
        await sandbox.issue(sandbox.spec(**fields))
    return sandbox.network.calls_since_mark


async def _alter(sandbox: Sandbox, field: str, number: int, occurrence: Occurrence) -> str:
    """Alter the number at one place of the call with this number. Returns what happened if the adapter did not notice it."""
    requested, received = ALTERED[field]
    spec = sandbox.spec(**_fields(field))
    sent = 0

    def alter(request: Request) -> Request:
        nonlocal sent
        sent += 1
        document = document_of(request.content)
        places = [place for place in occurrences(document, requested) if place.path == occurrence.path]
        if sent != number + 1 or not places:
            return request
        return with_body(request, replaced(document, occurrence.path, requested, received))

    async with sandbox.network.rewrite(alter):
        outcome = await sandbox.adapter.issue_coupon(replace(spec, first_try=True))
    where = f"{received} instead of {requested} at {'.'.join(map(str, occurrence.path))} of call {number + 1}"
    if isinstance(outcome, Done):
        return f"the store received {where}, but issue_coupon returned Done"
    if isinstance(outcome, Blocked | Retry | Unknown) and await sandbox.find(spec.code) is None:
        raise Skipped(f"the store does not accept a request that was changed: {describe(outcome)}")
    if isinstance(outcome, Reject) and outcome.reason.code is ReasonCode.COUPON_DIFFERS:
        if field not in rejected_fields(outcome):
            raise Violation(f"with {where}, the differences do not contain {field}: {describe(outcome)}")
        if await sandbox.is_usable(spec.code):
            raise Violation(f"with {where}, the wrong coupon can still be used")
    return ""


async def an_amount_is_exact_or_rejected(name: str, sandbox: Sandbox) -> None:
    """An amount that the store cannot keep exactly is a Reject. It is never rounded or cut."""
    fields = PRECISE[name]
    if fields.get("kind", CouponKind.FIXED_AMOUNT) not in sandbox.adapter_class.KINDS:
        raise Skipped(f"the store has no coupons of the kind {fields['kind']}")
    if fields.keys() & sandbox.adapter_class.CANNOT.keys():
        raise Skipped("the store does not support minimum_spend")
    spec = sandbox.spec(**fields)
    outcome = await sandbox.adapter.issue_coupon(replace(spec, first_try=True))
    coupon = await sandbox.find(spec.code)
    if not isinstance(outcome, Done | Reject):
        raise Violation(f"issue_coupon returned {describe(outcome)}")
    if isinstance(outcome, Reject) and coupon is not None and coupon.active:
        raise Violation("it was rejected, but the store has it")
    if isinstance(outcome, Done) and (coupon is None or differences(spec, coupon)):
        shown = describe_differences(differences(spec, coupon)) if coupon else "it is not found"
        raise Violation(f"issue_coupon returned Done, but {shown}")


async def another_currency_is_kept_or_rejected(sandbox: Sandbox) -> None:
    """An amount in another currency than the store's is a Reject with the currency, or the coupon has that currency."""
    currency = sandbox.data.other_currency or ("USD" if sandbox.data.currency != "USD" else "EUR")
    spec = sandbox.spec(currency=currency)
    outcome = await sandbox.adapter.issue_coupon(replace(spec, first_try=True))
    coupon = await sandbox.find(spec.code)
    if isinstance(outcome, Reject):
        if coupon is not None and coupon.active:
            raise Violation(f"an amount in {currency} was rejected, but the store has the coupon")
        return
    if not isinstance(outcome, Done):
        raise Violation(f"an amount in {currency}: {describe(outcome)}")
    if coupon is None or coupon.currency != currency or "currency" in coupon.unreadable:
        shown = coupon.currency if coupon else None
        raise Violation(f"an amount in {currency} was requested, and the store's coupon is in {shown or 'no currency'}")
    _sent_currency(sandbox, currency)


def _sent_currency(sandbox: Sandbox, currency: str) -> None:
    """The currency must be in a request: otherwise the store has taken its own."""
    if not any(
        currency.casefold() in call.body.decode("utf-8", "replace").casefold() for call in sandbox.network.calls
    ):
        raise Violation(f"{currency} is in no request, so the store has taken its own currency")


async def a_coupon_of_the_merchant_is_kept(sandbox: Sandbox) -> None:
    """A coupon without our reference that has the code with other values is never deleted or changed; the outcome is Reject."""
    for first_try in (True, False):
        merchants = sandbox.spec(value=Decimal("7.50"))
        store_id = await sandbox.issue(merchants)
        ordered = replace(merchants, value=Decimal("5.00"), reference="0192-88")
        outcome = await sandbox.adapter.issue_coupon(replace(ordered, first_try=first_try))
        coupon = await sandbox.find(merchants.code)
        if coupon is None or coupon.store_id != store_id or differences(merchants, coupon):
            raise Violation(f"it was deleted, changed or made again; issue_coupon returned {describe(outcome)}")
        if not isinstance(outcome, Reject) or outcome.reason.code is not ReasonCode.CODE_TAKEN:
            raise Violation(f"issue_coupon returned {describe(outcome)} instead of code_taken")


async def similar_codes_are_kept(sandbox: Sandbox) -> None:
    """Retiring a code changes no coupon with a similar code."""
    spec = sandbox.spec()
    others = [sandbox.spec(code=code) for code in (f"{spec.code}A", f"A{spec.code}", spec.code[:-1], spec.code[1:])]
    for created in (spec, *others):
        await sandbox.issue(created)
    outcome = await sandbox.adapter.retire_coupon(spec.code)
    if not isinstance(outcome, Done) or await sandbox.is_usable(spec.code):
        raise Violation(f"it could not be retired: {describe(outcome)}")
    for other in others:
        coupon = await sandbox.find(other.code)
        if coupon is None or not coupon.active or differences(other, coupon):
            raise Violation(f"the retirement of {spec.code} also deleted or changed {other.code}")


async def changes_of_another_process_are_seen(sandbox: Sandbox) -> None:
    """What another process creates or retires is seen at once: no lookup is answered from memory."""
    other, spec = sandbox.new_adapter(), sandbox.spec()
    if await sandbox.find(spec.code) is not None:
        raise Violation("a new code is found")
    created = await other.issue_coupon(replace(spec, first_try=True))
    if not isinstance(created, Done):
        raise Violation(f"issue_coupon returned {describe(created)}")
    if not await sandbox.is_usable(spec.code):
        raise Violation("a coupon that another process created is not found")
    retired = await other.retire_coupon(spec.code)
    if not isinstance(retired, Done):
        raise Violation(f"retire_coupon returned {describe(retired)}")
    if await sandbox.is_usable(spec.code):
        raise Violation("a coupon that another process retired is still found")


async def a_lost_response_creates_no_second_coupon(sandbox: Sandbox) -> None:
    """After a lost response to a creation that was applied, no second creation is sent, in no spelling of the code."""
    creation = await _creation_calls(sandbox)
    for number in range(await sandbox.calls_of_an_issue()):
        spec = sandbox.spec(code=f"Ct{sandbox.spec().code[2:]}")
        sandbox.network.mark()
        async with sandbox.network.inject(Fault.LOST, number):
            await sandbox.adapter.issue_coupon(replace(spec, first_try=True))
        first = [call for call in sandbox.network.calls_since_mark if _is_write(call, creation)]
        if not await sandbox.is_usable(spec.code):
            await sandbox.complete(spec)
            continue
        sandbox.network.mark()
        outcome = await sandbox.adapter.issue_coupon(replace(spec, first_try=False))
        again = [call for call in sandbox.network.calls_since_mark if is_like(call, first, spec.code)]
        if any(respelled(call, spec.code) for call in again):
            raise Violation("the second attempt created the code in another spelling")
        if not isinstance(outcome, Done):
            raise Violation(f"the second attempt returned {describe(outcome)}")
        for spelling in (spec.code.upper(), spec.code.lower()):
            coupon = await sandbox.find(spelling)
            if coupon is not None and coupon.active and coupon.store_id != outcome.result.get("store_id"):
                raise Violation(f"the store also has {spelling}: a second coupon for the redemption")
        await sandbox.expect_one(spec)


async def _creation_calls(sandbox: Sandbox) -> frozenset[tuple[str, str]]:
    """Method and URL of the calls that an issue makes and a lookup does not."""
    await sandbox.issue(sandbox.spec())
    sandbox.network.mark()
    await sandbox.find(sandbox.spec().code)
    lookups = {(call.method, call.url.partition("?")[0]) for call in sandbox.network.calls_since_mark}
    sandbox.network.mark()
    await sandbox.issue(sandbox.spec())
    calls = {(call.method, call.url.partition("?")[0]) for call in sandbox.network.calls_since_mark}
    return frozenset(calls - lookups) or frozenset(calls)


def _is_write(call: RecordedCall, creation: frozenset[tuple[str, str]]) -> bool:
    return call.method != "GET" and (call.method, call.url.partition("?")[0]) in creation


async def a_session_is_kept(sandbox: Sandbox) -> None:
    """A login is used for many calls. A new session for every call uses up the store's sessions and its rate limit."""
    secrets = {secret for secret in secrets_of(sandbox.adapter_class.Settings()) if secret}
    adapter, spec = sandbox.new_adapter(), sandbox.spec()
    await adapter.find_coupon(spec.code)
    sandbox.network.mark()
    for _ in range(LOOKUPS):
        await adapter.find_coupon(spec.code)
    calls = sandbox.network.calls_since_mark
    logins = [call for call in calls if any(secret in call.body.decode("utf-8", "replace") for secret in secrets)]
    if len(logins) >= LOOKUPS:
        raise Violation(f"{LOOKUPS} lookups sent the credentials {len(logins)} times: every call has its own login")
    cookies = {value for call in calls for name, value in call.headers if name == "cookie"}
    if len(cookies) >= LOOKUPS:
        raise Violation(f"{LOOKUPS} lookups had {len(cookies)} different cookies: every call has its own session")
