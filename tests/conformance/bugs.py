"""Forty-two bugs that a person could write into an adapter, each as what to replace in the sample (sample.py) by what.

They are of the kind that an outsider's tests seldom find: the shop behaves, and all is well.
"""

from __future__ import annotations

from dataclasses import dataclass

Change = tuple[str, str]


@dataclass(frozen=True)
class Bug:
    """`changes`: each text stands once in the sample."""

    name: str
    changes: tuple[Change, ...]


def bug(name: str, *changes: str) -> Bug:
    return Bug(name, tuple(zip(changes[::2], changes[1::2], strict=True)))


DRAFT_COMPARED = "if told := differences(order, drafted):"
FOUND_COMPARED = "if told := differences(order, found):\n            return await self._remove"
NOT_COMPARED = "if told := ():\n            return await self._remove"
AFTER_401 = "if isinstance(answer, Answer) and answer.status == 401:"

BUGS = (
    # -- one coupon for a code
    bug(
        "a taken code is called success",
        "return await self._held(order) or Retry(f",
        "return Done({'store_id': order.code}) or Retry(f",
    ),
    bug("a taken code is a refusal", "return await self._held(order) or Retry(f", "return answer or Retry(f"),
    bug(
        "what the shop holds is not compared",
        "            return judge(order, found)\n",
        "            return Done({'store_id': found.store_id})\n",
    ),
    bug(
        "the difference is not named",
        "            return judge(order, found)\n",
        "            return Reject('the code is in use') if differences(order, found) else judge(order, found)\n",
    ),
    bug(
        "a draft left by a crash is called the coupon",
        'if row.get("published") is True or differences',
        "if True or differences",
    ),
    bug(
        "a draft is never published",
        DRAFT_COMPARED,
        "if True:\n            return Done({'store_id': drafted.store_id})\n        if told := ():",
    ),
    bug("Done names no coupon", 'return Done({"store_id": found.store_id})', "return Done()"),
    bug(
        "side by side, one order overwrites the other",
        'answer = await self._call("POST", "vouchers", voucher(order))',
        "self._order = order\n        await asyncio.sleep(0)\n"
        '        answer = await self._call("POST", "vouchers", voucher(self._order))',
    ),
    # -- the echo
    bug("the echo is not compared", DRAFT_COMPARED, "if told := ():", FOUND_COMPARED, NOT_COMPARED),
    bug(
        "a wrong coupon is left in the shop",
        DRAFT_COMPARED,
        "if told := ():",
        "removed = await self._delete(store_id)",
        "removed = Done()",
    ),
    bug(
        "an unreadable echo is success",
        '            return Unknown("the shop answered without the voucher")\n        if told := differences(order, drafted)',
        '            return Done({"store_id": order.code})\n        if told := differences(order, drafted)',
    ),
    # -- answers
    bug(
        "a 5xx to a write is Retry",
        'return Unknown(f"HTTP {answer.status} to a write"',
        'return Retry(f"HTTP {answer.status} to a write", None',
    ),
    bug(
        "a 5xx is a refusal",
        "if answer.status >= 500 and method",
        "if answer.status >= 500:\n        return Reject('broken')\n    if answer.status >= 500 and method",
    ),
    bug(
        "a lost answer is a refusal",
        "return answered(answer, method) if isinstance(answer, Answer) else answer",
        "return answered(answer, method) if isinstance(answer, Answer) else Reject(answer.why)",
    ),
    bug(
        "no answer to a look-up means none",
        "        if not isinstance(rows, list):\n            return rows\n        return next(",
        "        if not isinstance(rows, list):\n            return None\n        return next(",
    ),
    bug(
        "a look-up of another shape means none",
        'else Unknown("the shop answered without a list")\n\n    async def _call',
        "else []\n\n    async def _call",
    ),
    bug(
        "a 429 is a refusal",
        "    if failure is not None:\n",
        "    if isinstance(failure, Retry):\n        return Reject(failure.why)\n    if failure is not None:\n",
    ),
    bug(
        "Retry-After is forgotten",
        "    if failure is not None:\n",
        "    if isinstance(failure, Retry):\n        return Retry(failure.why)\n    if failure is not None:\n",
    ),
    bug(
        "a refused key is Retry",
        "    if failure is not None:\n",
        "    if answer.status == 401 and failure:\n        return Retry(failure.why)\n    if failure is not None:\n",
    ),
    bug(
        "a missing right is a refusal of the coupon",
        "    if failure is not None:\n",
        "    if answer.status == 403:\n        return Reject('not allowed')\n    if failure is not None:\n",
    ),
    bug(
        "a redirect is Retry",
        "    if failure is not None:\n",
        "    if 300 <= answer.status < 400:\n        return Retry('moved')\n    if failure is not None:\n",
    ),
    bug(
        "every call renews the token for itself",
        "            if self._token != refused:\n                return self._token\n",
        "",
    ),
    bug("an odd field raises", "except (InvalidOperation, KeyError, TypeError, ValueError):", "except KeyError:"),
    # -- what is told
    bug(
        "a credential stands in the words",
        'answer.without_secrets(str(said.get("message") or ""))[:200]',
        'str(said.get("message") or "")[:200]',
    ),
    bug(
        "the shopper stands in the words",
        'return answer or Unknown("the shop answered without the voucher")\n        return await',
        'return Unknown(f"the voucher for {order.email} was not made")\n        return await',
    ),
    # -- the order in the shop's terms
    bug(
        "amounts go through a float",
        'None if order.value is None else f"{order.value:f}"',
        'None if order.value is None else f"{float(order.value):.1f}"',
    ),
    bug("the expiry loses its zone", "return moment.astimezone(UTC).strftime", "return moment.strftime"),
    bug(
        "the expiry is left out in silence",
        '"ends_at": written(order.expires_at)',
        '"ends_at": None',
        "expires_at=ends_at,\n",
        "",
        'frozenset({"customer_id"})',
        'frozenset({"customer_id", "expires_at"})',
    ),
    bug(
        "one shopper's coupon is for everybody",
        '"email": order.email',
        '"email": None',
        'frozenset({"customer_id"})',
        'frozenset({"customer_id", "email"})',
    ),
    bug(
        "a coupon for variants is for everything",
        '"variants": list(order.variant_ids)',
        '"variants": []',
        'variant_ids=ids(row.get("variants"))',
        "variant_ids=()",
        'frozenset({"customer_id"})',
        'frozenset({"customer_id", "variant_ids"})',
    ),
    bug(
        "variants are ordered as products",
        '"products": list(order.product_ids)',
        '"products": list(order.items)',
        '"variants": list(order.variant_ids)',
        '"variants": []',
    ),
    bug("an unlimited coupon is for one use", '"uses": order.usage_limit', '"uses": order.usage_limit or 1'),
    bug("nonsense reaches the shop", "if refused := refusal(order, Corner, datetime.now(UTC)):", "if refused := None:"),
    # -- retiring, looking up, checking
    bug(
        "a similar code is taken for the code",
        'row for row in rows if str(row.get("code")).casefold() == code.casefold()',
        "iter(rows)",
    ),
    bug(
        "retiring only pretends",
        'return await self._delete(str(row["id"])) if isinstance(row, dict) else row',
        "return Done() if isinstance(row, dict) else row",
    ),
    bug(
        "check says ready whatever happens",
        'return shop or Unknown("the shop told nothing")',
        'return Ready("probably")',
    ),
    # -- lists, entities, webhooks
    bug(
        "a page without an answer ends the list",
        'return answer or Unknown("the shop has no such list")',
        "return Page((), None)",
    ),
    bug("only the first page is read", "str(following) if following else None", "None"),
    bug("`since` is ignored", "isoformat()} if since else {})", "isoformat()} if None else {})"),
    bug(
        "an entity that did not answer is gone",
        "        if not isinstance(row, dict):\n            return row\n        return event(kind, row)",
        "        if not isinstance(row, dict):\n            return None\n        return event(kind, row)",
    ),
    bug("the version is the arrival", '"updatedAt": row.get("changed_at")', '"updatedAt": datetime.now(UTC)'),
    bug(
        "the signature is over a trimmed body",
        'signature = hmac.new(self._signing, raw, "sha256")',
        'signature = hmac.new(self._signing, raw.strip(), "sha256")',
    ),
)
