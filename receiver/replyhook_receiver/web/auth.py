"""Who may call the API: bearer keys, compared by hash in constant time."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response

from replyhook_receiver.web.problems import problem

Endpoint = Callable[[Request], Awaitable[Response]]


class ApiKeys:
    """The keys that are valid. Only their hashes are kept."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._hashes = [_hash(key) for key in keys]

    def allows(self, authorization: str | None) -> bool:
        """Whether an ``Authorization`` header holds a valid key."""
        scheme, _, key = (authorization or "").partition(" ")
        offered = _hash(key.strip())
        matches = [hmac.compare_digest(offered, known) for known in self._hashes]
        return scheme.lower() == "bearer" and any(matches)

    def guard(self, endpoint: Endpoint) -> Endpoint:
        """``endpoint`` for those with a key; a 401 problem for everybody else."""

        async def guarded(request: Request) -> Response:
            if not self.allows(request.headers.get("authorization")):
                detail = "this needs a valid API key: Authorization: Bearer rhk_…"
                return problem(401, detail, headers={"www-authenticate": 'Bearer realm="replyhook"'})
            return await endpoint(request)

        return guarded


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
