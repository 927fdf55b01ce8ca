"""Where providers call back: `POST /callbacks/{provider}/{token}`, answered ``ok`` once it is all on disk."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from replyhook.errors import KeysUnavailable, VerificationError
from replyhook_receiver.errors import StoreUnavailable
from replyhook_receiver.ingest import Ingest
from replyhook_receiver.web.problems import RETRY_AFTER_SECONDS

BODY_SECONDS = 10.0
MAX_HEADERS = 100

# One provider sends again whatever is not exactly this (PixVerse, PROVIDERS §2.2); all are content with it.
_OK = b"ok"
_COME_AGAIN = {"retry-after": str(RETRY_AFTER_SECONDS)}


def callback_routes(ingest: Ingest, *, max_body_bytes: int) -> list[Route]:
    """The routes that providers call."""

    async def take(request: Request) -> Response:
        provider = request.path_params["provider"]
        if not ingest.knows(provider):
            raise HTTPException(404)
        try:
            token = ingest.read_token(provider, request.path_params.get("token", ""))
            headers = _headers(request)
            async with asyncio.timeout(BODY_SECONDS):
                body = await request.body()
            await ingest.take(token, headers, body)
        except VerificationError:
            # Which check failed is counted and never said: a stranger learns nothing.
            return PlainTextResponse("not verified", status_code=401)
        except (KeysUnavailable, StoreUnavailable):
            return PlainTextResponse("not possible now, send it again", status_code=503, headers=_COME_AGAIN)
        except TimeoutError:
            return PlainTextResponse("the body did not come in time", status_code=408)
        except ClientDisconnect:
            return PlainTextResponse("gone", status_code=400)
        return PlainTextResponse(_OK)

    # A token with slashes, or none at all, is a wrong token: 401, not 404.
    paths = ("/callbacks/{provider}/{token:path}", "/callbacks/{provider}")
    return [Route(path, take, methods=["POST"], max_body_size=max_body_bytes) for path in paths]


def _headers(request: Request) -> tuple[tuple[str, str], ...]:
    raw = request.headers.raw
    if len(raw) > MAX_HEADERS:
        raise VerificationError("more headers than any provider sends")
    # The token is in the path, so no header holds a secret of ours but these, which a proxy may add.
    hidden = (b"authorization", b"cookie", b"proxy-authorization")
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in raw if name not in hidden)
