"""fal.ai's webhooks: the signed callbacks and the key set. https://fal.ai/docs/documentation/model-apis/inference/webhooks

Read 2026-11. Signs Ed25519, hex, over ``request id \\n user id \\n unix time \\n hex(sha256(body))``.
"""

import base64
import hashlib
import json
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from nacl.signing import SigningKey
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from replyhook_receiver.sandbox.bodies import UnreadableBody, read_fields
from replyhook_receiver.sandbox.callbacks import Envelope, Seal
from replyhook_receiver.sandbox.stage import Refusal

STRANGER = "another-fal-customer"
GARBAGE = b"<html>502 Bad Gateway\xff</html>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Signs as one customer's callback with one key; called for every attempt, so the time is the attempt's."""

    key: SigningKey
    user_id: str

    def __call__(self, url: str, request_id: str, body: bytes, sent_body: bytes | None = None) -> Envelope:
        """``sent_body`` goes out under the signature of ``body``, for a forgery."""
        timestamp = str(int(time.time()))
        digest = hashlib.sha256(body).hexdigest()
        signed = "\n".join((request_id, self.user_id, timestamp, digest)).encode()
        headers = {
            "content-type": "application/json",
            "x-fal-webhook-request-id": request_id,
            "x-fal-webhook-user-id": self.user_id,
            "x-fal-webhook-timestamp": timestamp,
            "x-fal-webhook-signature": self.key.sign(signed).signature.hex(),
        }
        return Envelope(url=url, headers=headers, body=body if sent_body is None else sent_body)


class FalWebhooks:
    """Makes fal's callbacks, and publishes the keys that they are checked with."""

    def __init__(self, *, user_id: str) -> None:
        self._user_id = user_id
        self._keys = [SigningKey.generate()]
        self._is_broken = False

    def genuine(self, url: str, request_id: str, report: dict[str, Any]) -> Seal:
        """A callback as fal sends it."""
        return lambda: self._signer()(url, request_id, _json(report))

    def garbage(self, url: str, request_id: str) -> Seal:
        """A callback that fal really signed, with a body that nobody can read."""
        return lambda: self._signer()(url, request_id, GARBAGE)

    def forgeries(self, url: str, request_id: str, report: dict[str, Any]) -> list[Seal]:
        """By a key that fal never published; by fal but for a stranger's job; and a signature of another body."""
        body = _json(report)
        unpublished = Signer(key=SigningKey.generate(), user_id=self._user_id)
        tampered = _json(report | {"gateway_request_id": "another"})
        return [
            partial(unpublished, url, request_id, body),
            lambda: Signer(key=self._keys[-1], user_id=STRANGER)(url, request_id, body),
            lambda: self._signer()(url, request_id, body, sent_body=tampered),
        ]

    def _signer(self) -> Signer:
        return Signer(key=self._keys[-1], user_id=self._user_id)

    def routes(self) -> list[BaseRoute]:
        return [Route("/.well-known/jwks.json", self._key_set, methods=["GET"])]

    def admin_routes(self) -> list[BaseRoute]:
        return [
            Route("/rotate-keys", self._rotate_keys, methods=["POST"]),
            Route("/fal/sign", self._sign, methods=["POST"]),
            Route("/jwks", self._break_key_set, methods=["POST"]),
        ]

    async def _key_set(self, _request: Request) -> Response:
        if self._is_broken:
            raise Refusal(500, {"detail": "Internal Server Error"})
        return JSONResponse({"keys": [_jwk(key) for key in self._keys]})

    async def _sign(self, request: Request) -> Response:
        """The headers of a callback that somebody else sends: for a receiver that takes its keys from here."""
        try:
            fields = await read_fields(request)
        except UnreadableBody as error:
            raise HTTPException(400, str(error)) from error
        request_id, body = fields.get("request_id"), fields.get("body")
        if not (isinstance(request_id, str) and isinstance(body, str)):
            raise HTTPException(400, "request_id and body must be texts")
        return JSONResponse({"headers": dict(self._signer()("", request_id, body.encode()).headers)})

    async def _rotate_keys(self, request: Request) -> Response:
        if request.query_params.get("drop_old") == "1":
            self._keys.clear()
        self._keys.append(SigningKey.generate())
        return JSONResponse({"keys": len(self._keys)})

    async def _break_key_set(self, request: Request) -> Response:
        self._is_broken = request.query_params.get("broken") == "1"
        return JSONResponse({"broken": self._is_broken})


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()


def _jwk(key: SigningKey) -> dict[str, str]:
    # Unpadded, as the standard wants it: fal's own sample code stumbles over that.
    x = base64.urlsafe_b64encode(bytes(key.verify_key)).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x}
