"""Forty-four bugs that a person could write into an adapter, each as what to replace in the sample (sample.py) by what.

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
JUDGED = "            return compare_existing(spec, found)\n"
TAKEN = "        except Taken:\n            return await self._held(spec) or Retry("
STATUS_CHECK = "    RESPONSES.raise_for_status(answer, request, words, wrote=method"
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
    bug("what the store holds is not compared", JUDGED, "            return Done({'store_id': found.store_id})\n"),
    bug(
        "the difference is not named",
        JUDGED,
        "            taken = Reject(RESPONSES.reason(ReasonCode.CODE_TAKEN, code=spec.code))\n"
        "            return taken if differences(spec, found) else compare_existing(spec, found)\n",
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
        "        return RESPONSES.require(answer)\n",
        "        if not isinstance(answer, HttpResponse):\n            raise CallFailed(Reject(answer.reason))\n"
        "        return RESPONSES.require(answer)\n",
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
    # -- retiring, looking up, checking
    bug(
        "a similar code is taken for the code",
        'row for row in rows if str(row.get("code")).casefold() == code.casefold()',
        "iter(rows)",
    ),
    bug("retiring only pretends", 'return await self._delete(str(row["id"])) if row else Done()', "return Done()"),
    bug(
        "check says ready whatever happens",
        'shop = await self._object("GET", "shop", "the shop")\n',
        'shop = await returns_failures(self._object)("GET", "shop", "the shop")\n'
        "        if not isinstance(shop, dict):\n            return Ready('probably')\n",
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
