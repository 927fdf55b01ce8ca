"""`/v1/providers`: how each provider is set up here, how it has done of late, and what is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook.providers import CallbackKind, Provider
from replyhook.tokens import build_reply_url
from replyhook_receiver.jwks import KeySet
from replyhook_receiver.provider_setup import setup_of
from replyhook_receiver.records import ReportSource
from replyhook_receiver.stores.history import CallbackFilter
from replyhook_receiver.stores.track_records import TrackRecord
from replyhook_receiver.web.answering import answer
from replyhook_receiver.web.auth import ApiKeys
from replyhook_receiver.web.models import NothingModel, read_model
from replyhook_receiver.web.parts import Parts
from replyhook_receiver.web.provider_models import AccountURL, ProviderList

_MAX_BODY_BYTES = 1024
_NO_JOBS = TrackRecord(jobs=0, succeeded=0, failed=0)


class ProviderApi:
    """What the endpoints stand on."""

    def __init__(self, parts: Parts, key_sets: Mapping[str, KeySet]) -> None:
        self._parts = parts
        self._key_sets = key_sets

    def routes(self, keys: ApiKeys) -> list[Route]:
        """The routes, each for those with a key."""
        return [
            Route("/v1/providers", keys.guard(self.list), methods=["GET"]),
            Route(
                "/v1/providers/{name}/reply-url",
                keys.guard(self.reply_url),
                methods=["POST"],
                max_body_size=_MAX_BODY_BYTES,
            ),
        ]

    async def list(self, _: Request) -> Response:
        """Every provider. Of keys and secrets it says whether they are there."""
        records = await self._parts.store.track_records.latest()
        lately = await self._parts.store.overview.lately(user=None, now=self._parts.now())
        waits = {each.provider: {"p50": each.p50, "p95": each.p95} for each in lately.waits}
        refused = self._parts.refusals.by_provider()
        senders = await self._parts.store.senders()
        found = []
        for name, provider in sorted(self._parts.providers.items()):
            shown = self._shown(name, provider, records.get(name, _NO_JOBS))
            shown["called_back_after_seconds"] = waits.get(name, {"p50": None, "p95": None})
            shown["verification_failures"] = refused.get(name, {})
            shown["users"] = _users(provider, senders.get((name, provider.account), ()))
            shown["last_callback"] = await self._last(name)
            found.append(shown)
        return answer(ProviderList, {"data": found})

    async def reply_url(self, request: Request) -> Response:
        """The URL to enter in the console of a provider with one webhook per account."""
        await read_model(request, NothingModel, empty=b"{}")
        name = request.path_params["name"]
        provider = self._parts.providers.get(name)
        if provider is None:
            known = ", ".join(sorted(self._parts.providers))
            raise HTTPException(404, f"there is no such provider; there are {known}")
        if provider.capabilities.callback is not CallbackKind.ACCOUNT:
            raise HTTPException(404, f"{name} has no webhook per account: each job has a URL of its own")
        token = self._parts.tokens.mint_account(provider=name, account=provider.account)
        url = build_reply_url(self._parts.public_url, provider=name, token=token)
        return answer(AccountURL, {"name": name, "account": provider.account, "reply_url": url})

    def _shown(self, name: str, provider: Provider, record: TrackRecord) -> dict[str, Any]:
        known, setup = provider.capabilities, setup_of(name, provider, public_url=self._parts.public_url)
        return {
            "name": name,
            "title": known.title,
            "configured": setup.has_key and not setup.missing,
            "has_key": setup.has_key,
            "missing": [asdict(each) for each in setup.missing],
            "reply_urls": setup.reply_urls,
            "can_call_back": setup.can_call_back,
            "media_hosts": list(setup.media_hosts),
            "account": provider.account,
            "callback": known.callback,
            "is_account_wide": known.callback is CallbackKind.ACCOUNT,
            "signed": known.signed,
            "jobs": record.jobs,
            "succeeded": record.succeeded,
            "failed": record.failed,
            "success_rate": record.success_rate,
            "public_keys": self._public_keys(name),
        }

    def _public_keys(self, name: str) -> dict[str, Any] | None:
        key_set = self._key_sets.get(name)
        if key_set is None:
            return None
        at = key_set.fetched_at
        age = None if at is None else int(abs((self._parts.now() - at).total_seconds()))
        return {"count": key_set.count, "fetched_at": at, "age_seconds": age, "problem": key_set.failure}

    async def _last(self, name: str) -> datetime | None:
        wanted = CallbackFilter(provider=name, source=ReportSource.CALLBACK)
        found = await self._parts.store.history.callbacks(wanted, limit=1)
        return found[0].received_at if found else None


def _users(provider: Provider, learned: Sequence[str]) -> dict[str, int] | None:
    """How many are pinned, and how; None where a provider signs for none. Who they are stays here."""
    configured = getattr(provider, "user_ids", None)
    return None if configured is None else {"configured": len(configured), "learned": len(learned)}
