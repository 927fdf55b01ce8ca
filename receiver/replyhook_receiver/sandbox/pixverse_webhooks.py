"""PixVerse's webhooks: its console, and the signed callbacks. https://docs.platform.pixverse.ai/how-to-use-webhook-1905378m0

Read 2026-11. Signs HMAC-SHA256, Base64, over ``unix time \\n nonce \\n the body as a query string``. The four official
samples write that string in different ways, and which of them the real server agrees with is not known.
"""

import base64
import hashlib
import hmac
import json
import random
import re
import string
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from urllib.parse import quote, quote_plus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from replyhook_receiver.sandbox.bodies import UnreadableBody, read_fields
from replyhook_receiver.sandbox.callbacks import Envelope, Seal
from replyhook_receiver.sandbox.options import SandboxOptions

DEFAULT_WEBHOOK_ID = "1"
NONCE_CHARACTERS = string.ascii_letters + string.digits
GARBAGE = b'{"id":"1\xff'
A_WEEK_SECONDS = 7 * 86_400

# Which samples sort the keys, and which leave ``*`` as it is and escape ``~`` (the others do it the other way round).
# The numbers that are sent here (1, 10.5, 100) read the same in all four.
SORTING = frozenset({"go", "java"})
KEEPING_STARS = frozenset({"node", "java"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One entry of the console."""

    url: str
    secret: str


def query_string(report: Mapping[str, Any], signer: str) -> str:
    """``report`` as the official sample ``signer`` writes it to sign it."""
    escape = _escape_like_forms if signer in KEEPING_STARS else quote_plus
    items = sorted(report.items()) if signer in SORTING else report.items()
    return "&".join(f"{escape(name)}={escape(_text(value))}" for name, value in items)


def _escape_like_forms(text: str) -> str:
    return quote_plus(text).replace("~", "%7E").replace("%2A", "*")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class PixVerseWebhooks:
    """The console's entries, and the callbacks to them."""

    def __init__(self, options: SandboxOptions) -> None:
        self._signer = options.pixverse_signer
        self._signs_anew = options.pixverse_resign
        self._secret = options.pixverse_secret
        self._entries = {
            webhook_id: Webhook(url=url, secret=secret)
            for webhook_id, (url, secret) in options.pixverse_webhooks.items()
        }

    def find(self, webhook_id: str) -> Webhook | None:
        return self._entries.get(webhook_id)

    @staticmethod
    def how_to_make_one(base_url: str) -> str:
        """What to run instead of a visit to the console."""
        url = f"{base_url.rstrip('/')}/_sandbox/pixverse/webhooks"
        body = """"{\\"url\\": \\"$(replyhook providers url pixverse)\\"}\""""
        return (
            f"This sandbox makes the webhook {DEFAULT_WEBHOOK_ID!r} where it is told the URL, with the receiver's "
            f"settings and in its folder: `curl -X POST {url} -H 'content-type: application/json' -d {body}`"
        )

    def genuine(self, webhook: Webhook, trace_id: str, report: dict[str, Any]) -> Seal:
        """A callback as PixVerse sends it. Whether a retry has a new time and nonce is not published."""
        body, signed = _json(report), query_string(report, self._signer)
        seal = partial(_seal, webhook.url, trace_id, body, signed, webhook.secret)
        return seal if self._signs_anew else cache(seal)

    def garbage(self, webhook: Webhook, trace_id: str) -> Seal:
        return partial(_seal, webhook.url, trace_id, GARBAGE, GARBAGE.decode(errors="replace"), webhook.secret)

    def forgeries(self, webhook: Webhook, trace_id: str, report: dict[str, Any]) -> list[Seal]:
        """What proves nothing: signed in a wrong reading, by another secret, without a nonce, long ago, or right but
        for another text."""
        body, signed = _json(report), query_string(report, self._signer)
        text = body.decode()
        seal: Callable[..., Seal] = partial(partial, _seal, webhook.url, trace_id)
        # The same number for JavaScript, and another one; a second link that some readers take for the first.
        other_text = re.sub(r'("credits":)(\d+)', r"\1\2e0", text)
        other_number = re.sub(r'("credits":)(\d+)', r"\g<1>9\2", text)
        doubled = text.replace('"url":', '"url":"https://forged.example/video.mp4","url":', 1)
        return [
            seal(body, text, webhook.secret),
            seal(body, quote(text, safe="!'()*-._~"), webhook.secret),
            seal(body, signed, "another-secret"),
            seal(body, signed, webhook.secret, has_nonce=False),
            seal(body, signed, webhook.secret, age_seconds=A_WEEK_SECONDS),
            seal(other_text.encode(), signed, webhook.secret),
            seal(other_number.encode(), signed, webhook.secret),
            seal(doubled.encode(), signed, webhook.secret),
        ]

    def admin_routes(self) -> list[BaseRoute]:
        return [Route("/pixverse/webhooks", self._register, methods=["POST"])]

    async def _register(self, request: Request) -> Response:
        try:
            fields = await read_fields(request)
        except UnreadableBody as error:
            raise HTTPException(400, str(error)) from error
        entry = {"webhook_id": DEFAULT_WEBHOOK_ID, "secret": self._secret} | fields
        webhook_id, url, secret = entry["webhook_id"], entry.get("url"), entry["secret"]
        if not (isinstance(webhook_id, str) and isinstance(secret, str) and webhook_id and secret):
            raise HTTPException(400, "webhook_id and secret must be texts")
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise HTTPException(400, "url must be an http:// or https:// address")
        self._entries[webhook_id] = Webhook(url=url, secret=secret)
        return JSONResponse({"webhook_id": webhook_id, "url": url})


def _seal(
    url: str,
    trace_id: str,
    body: bytes,
    signed: str,
    secret: str,
    *,
    has_nonce: bool = True,
    age_seconds: int = 0,
) -> Envelope:
    """``body`` under a signature of ``signed``."""
    timestamp = str(int(time.time()) - age_seconds)
    nonce = "".join(random.choices(NONCE_CHARACTERS, k=32)) if has_nonce else ""
    mac = hmac.new(secret.encode(), f"{timestamp}\n{nonce}\n{signed}".encode(), hashlib.sha256)
    headers = {
        "content-type": "application/json",
        "ai-trace-id": trace_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": base64.b64encode(mac.digest()).decode(),
    }
    return Envelope(url=url, headers=headers | ({"webhook-nonce": nonce} if has_nonce else {}), body=body)


def _json(report: Mapping[str, Any]) -> bytes:
    return json.dumps(report, separators=(",", ":"), ensure_ascii=False).encode()
