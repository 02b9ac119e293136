"""Sixty-six bugs that a person could write into an adapter, each as what to replace in the sample (sample.py) by what.

They are of the kind that an outsider's tests seldom find: the store behaves, and all is well.
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


DRAFT_COMPARED = "drafted = await confirm_created(spec, draft, self._delete)"
DRAFT_DONE = 'drafted: Done | Reject = Done({"store_id": draft.store_id})'
COMPARED = "return await confirm_created(spec, published, self._delete)"
PUBLISHED = 'return Done({"store_id": published.store_id})'
JUDGED = "            return compare_existing(spec, existing)\n"
TAKEN = "        except Taken:\n            return await self._held(spec) or Retry("
STATUS_CHECK = "    RESPONSES.raise_for_status(answer, request, words, wrote=method"
REFUSED = "        if refused := check_spec(spec, Corner, datetime.now(UTC)):\n"
FOUND = "        row = await self._row(code)\n        return read(row, LOOKUP) if row else None"
REPLACE = (
    "from collections.abc import Mapping\n",
    "from collections.abc import Mapping\nfrom dataclasses import replace\n",
)
"""What an adapter needs to change a spec."""
REJECTED = "raise CallFailed(RESPONSES.rejected(request, words, answer))"


def status(condition: str, instead: str) -> tuple[str, str]:
    """What a status means is something else."""
    return STATUS_CHECK, f"    if {condition}:\n        {instead}\n{STATUS_CHECK}"


BUGS = (
    # -- one coupon for a code
    bug(
        "a taken code is called success",
        TAKEN,
        "        except Taken:\n            return Done({'store_id': spec.code}) or Retry(",
    ),
    bug(
        "a taken code is a refusal", TAKEN, "        except Taken as taken:\n            return taken.outcome or Retry("
    ),
    bug("what the store holds is not compared", JUDGED, "            return Done({'store_id': existing.store_id})\n"),
    bug(
        "the difference is not named",
        JUDGED,
        "            taken = Reject(RESPONSES.reason(ReasonCode.CODE_TAKEN, code=spec.code))\n"
        "            return taken if differences(spec, existing) else compare_existing(spec, existing)\n",
    ),
    bug(
        "a draft left by a crash is called the coupon",
        'if row.get("published") is True or differences',
        "if True or differences",
    ),
    bug("a draft is never published", "if isinstance(drafted, Reject):", "if True:"),
    bug(
        "Done names no coupon",
        COMPARED,
        f"made = {COMPARED[7:]}\n        return Done() if isinstance(made, Done) else made",
    ),
    bug(
        "side by side, one order overwrites the other",
        'row = await self._object("POST", "vouchers", CREATION, voucher(spec))',
        "self._spec = spec\n            await asyncio.sleep(0)\n"
        '            row = await self._object("POST", "vouchers", CREATION, voucher(self._spec))',
    ),
    # -- the echo
    bug("the echo is not compared", DRAFT_COMPARED, DRAFT_DONE, COMPARED, PUBLISHED),
    bug(
        "a wrong coupon is left in the shop",
        DRAFT_COMPARED,
        DRAFT_DONE,
        COMPARED,
        "return await confirm_created(spec, published, self._pretend)",
        "    async def _delete(self",
        "    async def _pretend(self, store_id: str) -> Done:\n        return Done()\n\n    async def _delete(self",
    ),
    bug(
        "an unreadable echo is success",
        'draft = read({**row, "published": True}, CREATION)',
        'draft = coupon({**row, "published": True})\n        if draft is None:\n'
        '            return Done({"store_id": spec.code})',
    ),
    # -- answers
    bug("a 5xx to a write is Retry", "wrote=method != ", "wrote=False and method != "),
    bug("a 5xx is a refusal", *status("answer.status >= 500", REJECTED)),
    bug(
        "a lost answer is a refusal",
        "        return RESPONSES.require(answer).hiding(token)\n",
        "        if not isinstance(answer, HttpResponse):\n            raise CallFailed(Reject(answer.reason))\n"
        "        return RESPONSES.require(answer).hiding(token)\n",
    ),
    bug(
        "no answer to a lookup means none",
        "rows = await self._items(f\"vouchers?{urlencode({'code': code}, quote_via=quote)}\", LOOKUP)",
        "rows = await returns_failures(self._items)"
        "(f\"vouchers?{urlencode({'code': code}, quote_via=quote)}\", LOOKUP)\n"
        "        if not isinstance(rows, list):\n            return None",
    ),
    bug(
        "a lookup of another shape means none",
        'raise RESPONSES.unreadable(request, "it has no list")\n\n    async def _object',
        "return []\n\n    async def _object",
    ),
    bug("a 429 is a refusal", *status("answer.status == 429", REJECTED)),
    bug(
        "Retry-After is forgotten",
        *status("answer.status == 429", "raise CallFailed(Retry(RESPONSES.reason(ReasonCode.RATE_LIMITED, answer)))"),
    ),
    bug(
        "a refused key is Retry",
        *status("answer.status == 401", "raise CallFailed(Retry(RESPONSES.reason(ReasonCode.KEY_REJECTED, answer)))"),
    ),
    bug("a missing right is a refusal of the coupon", *status("answer.status == 403", REJECTED)),
    bug(
        "a redirect is Retry",
        *status(
            "300 <= answer.status < 400", "raise CallFailed(Retry(RESPONSES.reason(ReasonCode.REDIRECTED, answer)))"
        ),
    ),
    bug(
        "every call renews the token for itself",
        "            if self._token != refused:\n                return self._token\n",
        "",
    ),
    bug("an odd field raises", "except (InvalidOperation, KeyError, TypeError, ValueError):", "except KeyError:"),
    # -- the reason
    bug(
        "a failure has no reason code",
        *status(
            "answer.status >= 500", 'raise CallFailed(Unknown(RESPONSES.reason(ReasonCode.UNSPECIFIED, text="broken")))'
        ),
        "from platform_relay.core.outcomes import Done,",
        "from platform_relay.core.outcomes import Unknown, Done,",
    ),
    bug(
        "what the store cannot do is named in words alone",
        "            return refused\n",
        "            facts = {'code': spec.code, 'problem': refused.reason.text}\n"
        "            return Reject(RESPONSES.reason(ReasonCode.NOT_SUPPORTED_BY_STORE, **facts))\n",
    ),
    bug(
        "a credential is in the facts",
        'answer.quote(str(shown.get("message") or ""))',
        'str(shown.get("message") or "")[:200]',
    ),
    bug("a token that was obtained at run time is in the evidence", ".hiding(token)", ""),
    bug(
        "the customer's address is in the facts",
        "        except Taken:\n",
        "        except CallFailed as failed:\n            if not isinstance(failed, Taken):\n"
        "                reason = failed.outcome.reason.also(problem=spec.email)\n"
        "                raise CallFailed(replace(failed.outcome, reason=reason)) from None\n",
        "from collections.abc import Mapping\n",
        "from collections.abc import Mapping\nfrom dataclasses import replace\n",
    ),
    # -- the order in the store's terms
    bug(
        "amounts go through a float",
        'None if spec.value is None else f"{spec.value:f}"',
        'None if spec.value is None else f"{float(spec.value):.1f}"',
    ),
    bug("the expiry loses its zone", "return moment.astimezone(UTC).strftime", "return moment.strftime"),
    bug(
        "the expiry is left out in silence",
        '"ends_at": written(spec.expires_at)',
        '"ends_at": None',
        "expires_at=ends_at,\n",
        "",
        'frozenset({"customer_id"})',
        'frozenset({"customer_id", "expires_at"})',
    ),
    bug(
        "one customer's coupon is for everybody",
        '"email": spec.email',
        '"email": None',
        'frozenset({"customer_id"})',
        'frozenset({"customer_id", "email"})',
    ),
    bug(
        "a coupon for variants is for everything",
        '"variants": list(spec.variant_ids)',
        '"variants": []',
        'variant_ids=ids(row.get("variants"))',
        "variant_ids=()",
        'frozenset({"customer_id"})',
        'frozenset({"customer_id", "variant_ids"})',
    ),
    bug(
        "variants are ordered as products",
        '"products": list(spec.product_ids)',
        '"products": list(spec.items)',
        '"variants": list(spec.variant_ids)',
        '"variants": []',
    ),
    bug("an unlimited coupon is for one use", '"uses": spec.usage_limit', '"uses": spec.usage_limit or 1'),
    bug(
        "nonsense reaches the shop", "if refused := check_spec(spec, Corner, datetime.now(UTC)):", "if refused := None:"
    ),
    # -- what only the wire, an odd amount or a second process shows
    bug(
        "the value is read from the adapter's own note",
        '"note": spec.reference',
        '"note": None if spec.value is None else f"{spec.value:f}"',
        'value=number(row.get("amount"))',
        'value=number(row.get("note"))',
    ),
    bug(
        "the value is read from a sentence in the note",
        '"note": spec.reference',
        '"note": None if spec.value is None else f"worth {spec.value:f} in all"',
        'value=number(row.get("amount"))',
        'value=number(str(row["note"]).split()[1] if row.get("note") else None)',
    ),
    bug(
        "amounts are rounded to cents before anything else",
        REFUSED,
        "        if spec.value is not None and spec.value.is_finite():\n"
        "            spec = replace(spec, value=spec.value.quantize(Decimal('0.01')))\n" + REFUSED,
        *REPLACE,
    ),
    bug(
        "percentages are cut to one digit",
        REFUSED,
        "        if spec.kind is CouponKind.PERCENTAGE and spec.value is not None:\n"
        "            spec = replace(spec, value=int(spec.value * 10) / Decimal(10))\n" + REFUSED,
        *REPLACE,
    ),
    bug(
        "the minimum spend is rounded",
        REFUSED,
        "        if spec.minimum_spend is not None and spec.minimum_spend.is_finite():\n"
        "            spec = replace(spec, minimum_spend=round(spec.minimum_spend, 2))\n" + REFUSED,
        *REPLACE,
    ),
    bug(
        "the minimum spend is only in the note",
        '"minimum": None if spec.minimum_spend is None else f"{spec.minimum_spend:f}"',
        '"minimum": None',
        '"note": spec.reference',
        '"note": None if spec.minimum_spend is None else f"from {spec.minimum_spend:f} on"',
        'minimum_spend=number(row.get("minimum"))',
        'minimum_spend=number(str(row["note"]).split()[1] if row.get("note") else None)',
    ),
    bug(
        "the usage limit is only in the note",
        '"uses": spec.usage_limit',
        '"uses": None',
        '"note": spec.reference',
        '"note": None if spec.usage_limit is None else f"{spec.usage_limit} uses"',
        'usage_limit=count(row.get("uses"))',
        'usage_limit=int(str(row["note"]).split()[0]) if row.get("note") else None',
    ),
    bug(
        "the minimum spend is a minimum quantity",
        '"minimum": None if spec.minimum_spend is None else f"{spec.minimum_spend:f}"',
        '"minimum_quantity": None if spec.minimum_spend is None else f"{spec.minimum_spend:f}"',
        'minimum_spend=number(row.get("minimum"))',
        'minimum_spend=number(row.get("minimum_quantity"))',
    ),
    bug(
        "any currency is taken as the store's",
        REFUSED,
        "        spec = replace(spec, currency=spec.currency and 'EUR')\n" + REFUSED,
        *REPLACE,
    ),
    bug(
        "the currency is not sent, and not compared",
        '"currency": spec.currency',
        '"currency": None',
        'frozenset({"customer_id"})',
        'frozenset({"customer_id", "currency"})',
    ),
    bug(
        "a merchant's coupon is deleted and made again",
        JUDGED,
        "            if row.get('note') is None and differences(spec, existing) and spec.reference:\n"
        "                await self._delete(existing.store_id)\n                return None\n" + JUDGED,
    ),
    bug(
        "retiring deletes whatever the lookup finds",
        '        row = await self._row(code)\n        return await self._delete(str(row["id"])) if row else Done()',
        "        rows = await self._items(f\"vouchers?{urlencode({'code': code}, quote_via=quote)}\", LOOKUP)\n"
        "        for row in rows:\n            if code in str(row.get('code')):\n"
        "                await self._delete(str(row['id']))\n"
        "        return Done()",
    ),
    bug(
        "a coupon that was found is remembered",
        FOUND,
        "        if code not in self._found and (row := await self._row(code)):\n            self._found[code] = row\n"
        "        return read(self._found[code], LOOKUP) if code in self._found else None",
        '        self._token = ""\n        self._renewal',
        '        self._token, self._found = "", dict[str, Row]()\n        self._renewal',
        '        row = await self._row(code)\n        return await self._delete(str(row["id"])) if row else Done()',
        "        row = await self._row(code)\n        self._found.pop(code, None)\n"
        '        return await self._delete(str(row["id"])) if row else Done()',
    ),
    bug(
        "that there is no coupon is remembered",
        FOUND,
        "        if code in self._none:\n            return None\n        row = await self._row(code)\n"
        "        if row is None:\n            self._none.add(code)\n        return read(row, LOOKUP) if row else None",
        '        self._token = ""\n        self._renewal',
        '        self._token, self._none = "", set[str]()\n        self._renewal',
        REFUSED,
        "        self._none.discard(spec.code)\n" + REFUSED,
    ),
    bug(
        "a second attempt creates the code in lower case",
        "        if not spec.first_try and (held := await self._held(spec)):\n            return held\n",
        "        if not spec.first_try:\n            small = replace(spec, code=spec.code.lower())\n"
        "            if held := await self._held(small):\n                return held\n            spec = small\n",
        *REPLACE,
    ),
    bug(
        "every call has a session of its own, by cookie",
        'headers = {"authorization": f"Bearer {token}"}',
        'headers = {"cookie": f"session={token}"}',
        'token = self._token or await self._renewed("")',
        "token = await self._renewed(self._token)",
    ),
    bug(
        "every call logs in",
        'token = self._token or await self._renewed("")',
        "token = await self._renewed(self._token)",
    ),
    bug("the expiry is cut to the day", 'strftime("%Y-%m-%dT%H:%M:%SZ")', 'strftime("%Y-%m-%dT00:00:00Z")'),
    bug(
        "not combinable is left out in silence",
        '"exclusive": not spec.combinable',
        '"exclusive": False',
    ),
    bug(
        "only the first row of a lookup is read",
        'row for row in rows if row.get("code") == code',
        'row for row in rows[:1] if row.get("code") == code',
    ),
    # -- retiring, looking up, checking
    bug(
        "a deletion that fails is Done",
        'return await self._delete(str(row["id"])) if row else Done()',
        'await returns_failures(self._delete)(str(row["id"])) if row else None\n        return Done()',
    ),
    bug(
        "a similar code is taken for the code",
        'row for row in rows if row.get("code") == code',
        "iter(rows)",
    ),
    bug("retiring only pretends", 'return await self._delete(str(row["id"])) if row else Done()', "return Done()"),
    bug(
        "check says ready whatever happens",
        'store = await self._object("GET", "store", "the store")\n',
        'store = await returns_failures(self._object)("GET", "store", "the store")\n'
        "        if not isinstance(store, dict):\n            return Ready('probably')\n",
    ),
    # -- lists, entities, webhooks
    bug(
        "a page without an answer ends the list",
        'answer = await self._object("GET", f"{kind}?{urlencode(query)}", f"the list of {kind}")\n',
        'answer = await returns_failures(self._object)("GET", f"{kind}?{urlencode(query)}", f"the list of {kind}")\n'
        "        if not isinstance(answer, dict):\n            return Page((), None)\n",
    ),
    bug("only the first page is read", "str(following) if following else None", "None"),
    bug("`since` is ignored", "isoformat()} if since else {})", "isoformat()} if None else {})"),
    bug(
        "an entity that did not answer is gone",
        'row = await self._call("GET", f"{kind}/{quote(entity_id, safe=\'\')}", f"the lookup in {kind}")\n'
        "        if row is None:",
        "row = await returns_failures(self._call)"
        '("GET", f"{kind}/{quote(entity_id, safe=\'\')}", f"the lookup in {kind}")\n'
        "        if not isinstance(row, dict):",
    ),
    bug("the version is the arrival", '"updatedAt": row.get("changed_at")', '"updatedAt": datetime.now(UTC)'),
    bug(
        "the signature is over a trimmed body",
        'signature = hmac.new(self._signing, raw, "sha256")',
        'signature = hmac.new(self._signing, raw.strip(), "sha256")',
    ),
)
