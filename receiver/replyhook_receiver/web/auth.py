"""Who may call the API: bearer keys, compared by hash in constant time."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from replyhook_receiver.web.problems import problem

Endpoint = Callable[[Request], Awaitable[Response]]

_ACCESS = "replyhook.access"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a valid key gives: everything, or one user's jobs. ``key_id`` names the key and tells nothing of it."""

    key_id: str
    user: str | None = field(default=None, repr=False)


class ApiKeys:
    """The keys that are valid. Only their hashes are kept."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._hashes = [_hash(key) for key in keys]

    async def access(self, authorization: str | None) -> Access | None:
        """What an ``Authorization`` header gives, or None where it holds no valid key."""
        scheme, _, key = (authorization or "").partition(" ")
        offered = _hash(key.strip())
        matches = [hmac.compare_digest(offered, known) for known in self._hashes]
        return Access(key_id=_key_id(offered)) if scheme.lower() == "bearer" and any(matches) else None

    async def access_now(self, key_id: str) -> Access | None:
        """What the key of that id gives now, or None where it is no longer valid."""
        return Access(key_id=key_id) if key_id in map(_key_id, self._hashes) else None

    def guard(self, endpoint: Endpoint) -> Endpoint:
        """``endpoint`` for those with a key; a 401 problem for everybody else."""

        async def guarded(request: Request) -> Response:
            access = await self.access(request.headers.get("authorization"))
            if access is None:
                detail = "this needs a valid API key: Authorization: Bearer rhk_…"
                return problem(401, detail, headers={"www-authenticate": 'Bearer realm="replyhook"'})
            request.scope[_ACCESS] = access
            return await endpoint(request)

        return guarded


def access_of(request: Request) -> Access:
    """What the key of a guarded request gives."""
    access: Access = request.scope[_ACCESS]
    return access


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _key_id(key_hash: bytes) -> str:
    return hashlib.sha256(b"replyhook.key-id" + key_hash).hexdigest()[:16]
