"""Signing a triggered callback with what this machine honestly has: PixVerse's shared secret, or the sandbox's key.

fal's own keys are fal's alone, so what is signed for fal is believed only by a receiver that is set up to take fal's
public keys from the sandbox.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from urllib.parse import quote_plus, urlsplit

from replyhook.errors import ConfigurationError, VerificationError
from replyhook.messages import HTTPRequest, as_object
from replyhook.providers import Provider
from replyhook.receiver_api import LOOPBACK_HOSTS
from replyhook.transport import Transport
from replyhook.trouble import ConnectionTrouble

_SECONDS = 10.0


def sandbox_at(url: str) -> str | None:
    """The sandbox's address, where ``url`` leads to one: to this machine."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.hostname in LOOPBACK_HOSTS else None


def pixverse_headers(provider: Provider, account: str, body: bytes) -> dict[str, str]:
    """The headers of a PixVerse callback, signed with the account's secret. Raises ``ConfigurationError``."""
    try:
        secret = provider.callback_secrets(account)[0]
    except VerificationError as error:
        raise ConfigurationError(
            f"{error}: give this command the receiver's settings, with REPLYHOOK_PROVIDERS__PIXVERSE__WEBHOOK_SECRETS"
        ) from error
    timestamp, nonce = str(int(time.time())), secrets.token_hex(16)
    fields = {
        name: str(value).lower() if isinstance(value, bool) else value for name, value in json.loads(body).items()
    }
    signed = "&".join(f"{quote_plus(name)}={quote_plus(str(value))}" for name, value in fields.items())
    mac = hmac.new(secret.encode(), f"{timestamp}\n{nonce}\n{signed}".encode(), hashlib.sha256)
    return {
        "webhook-timestamp": timestamp,
        "webhook-nonce": nonce,
        "webhook-signature": base64.b64encode(mac.digest()).decode(),
    }


def fal_headers(provider: Provider, request_id: str, body: bytes) -> dict[str, str]:
    """The headers of a fal callback, signed by the sandbox. Raises ``ConfigurationError``."""
    sandbox = sandbox_at(provider.jwks_url or "")
    if sandbox is None:
        raise ConfigurationError(
            "fal's callbacks are signed with a key that only fal has. One can be sent to a receiver that takes fal's "
            "public keys from the sandbox: start `replyhook sandbox`, and give what it prints to the receiver and to "
            "this command"
        )
    content = {"request_id": request_id, "body": body.decode()}
    answer = ask_sandbox(HTTPRequest(method="POST", url=f"{sandbox}/_sandbox/fal/sign", json=content))
    headers = answer.get("headers")
    if not isinstance(headers, dict):
        raise ConfigurationError(f"what answers at {sandbox} is no sandbox of this version")
    return {str(name): str(value) for name, value in headers.items()}


def ask_sandbox(request: HTTPRequest) -> dict[str, object]:
    """What the sandbox answers. Raises ``ConfigurationError`` where none does."""
    transport = Transport(timeout_seconds=_SECONDS)
    try:
        response = transport.send(request)
    except ConnectionTrouble as error:
        raise ConfigurationError(f"the sandbox does not answer: is `replyhook sandbox` running? {error}") from error
    finally:
        transport.close()
    if response.status != 200:
        raise ConfigurationError(f"the sandbox answered {response.status}: is it one of this version?")
    return as_object(response.json())
