"""Signature checks on raw bytes: Standard Webhooks (HMAC) and Ed25519. Pure: keys, bytes and the time are arguments."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from replyhook.errors import ConfigurationError, NoMatchingKey, VerificationError

if TYPE_CHECKING:
    from nacl.signing import VerifyKey  # PyNaCl is not there where only the client library is

SECRET_PREFIX = "whsec_"  # noqa: S105 - the mark of a secret, not one
TOLERANCE = timedelta(minutes=5)
_MAX_SIGNATURES = 16


def parse_unix_seconds(text: str | None, *, what: str) -> datetime:
    """A time from decimal seconds since 1970. ``VerificationError`` for anything else, however long or strange."""
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > 12:
        raise VerificationError(f"{what} is missing or malformed")
    try:
        return datetime.fromtimestamp(int(text), tz=UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise VerificationError(f"{what} is missing or malformed") from error


def check_time(sent_at: datetime, *, now: datetime, tolerance: timedelta) -> None:
    """Refuse what is older than ``tolerance`` or further than that in the future."""
    if abs(now - sent_at) > tolerance:
        raise VerificationError("the message is too old or from the future: check the clocks, or it is a replay")


def standard_webhooks_key(secret: str) -> bytes:
    """The HMAC key in a ``whsec_…`` secret. Raises ``ConfigurationError`` when it is not base64 of 16 to 128 bytes."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigurationError("a notification secret is 'whsec_' and base64") from error
    if not 16 <= len(key) <= 128:
        raise ConfigurationError("a notification secret holds 16 to 128 bytes of randomness, base64 after 'whsec_'")
    return key


def sign_standard_webhooks(secrets: Sequence[str], *, message_id: str, sent_at: datetime, body: bytes) -> str:
    """The ``webhook-signature`` value: one ``v1,…`` for each secret, so that a rotation overlaps.

    Standard Webhooks specification 1.0.0, https://www.standardwebhooks.com (vectors: PROVIDERS §7.1).
    """
    return " ".join(
        "v1,"
        + base64.b64encode(
            _mac(standard_webhooks_key(secret), message_id, str(int(sent_at.timestamp())), body)
        ).decode()
        for secret in secrets
    )


def verify_standard_webhooks(
    secrets: Iterable[str],
    *,
    message_id: str | None,
    timestamp: str | None,
    signature: str | None,
    body: bytes,
    now: datetime,
    tolerance: timedelta = TOLERANCE,
) -> None:
    """Check the three Standard Webhooks headers against any of the secrets, then the clock.

    Raises ``VerificationError`` whatever is wrong with what was sent, ``ConfigurationError`` for a secret that is none.
    """
    if not message_id or len(message_id) > 256 or not message_id.isascii():
        raise VerificationError("webhook-id is missing or malformed")
    sent_at = parse_unix_seconds(timestamp, what="webhook-timestamp")
    if not signature or not signature.isascii():
        raise VerificationError("webhook-signature is missing or malformed")
    offered = [value for version, _, value in (s.partition(",") for s in signature.split()) if version == "v1"]
    if not offered or len(offered) > _MAX_SIGNATURES:
        raise VerificationError("webhook-signature is missing or malformed")
    expected = [_mac(standard_webhooks_key(secret), message_id, timestamp or "", body) for secret in secrets]
    if not _any_matches(offered, expected):
        raise VerificationError("webhook-signature does not match")
    check_time(sent_at, now=now, tolerance=tolerance)


def _mac(key: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
    return hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()


def _any_matches(offered: Iterable[str], expected: Sequence[bytes]) -> bool:
    found = False
    for text in offered:
        try:
            mac = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            continue
        for want in expected:
            found |= hmac.compare_digest(mac, want)
    return found


def verify_ed25519(public_keys: Iterable[bytes], *, signature: bytes, message: bytes) -> None:
    """Check a detached Ed25519 signature against any of the 32-byte public keys.

    Raises ``VerificationError`` for a signature that has not 64 bytes, ``NoMatchingKey`` when no key made it. Needs
    PyNaCl, which ``replyhook[receiver]`` brings.
    """
    if len(signature) != 64:
        raise VerificationError("the signature has not 64 bytes")
    if not any(_made_ed25519(key, signature, message) for key in public_keys):
        raise NoMatchingKey("no key at hand made this signature")


def _made_ed25519(public_key: bytes, signature: bytes, message: bytes) -> bool:
    from nacl.exceptions import CryptoError

    try:
        _verify_key(public_key).verify(message, signature)
    except (CryptoError, ValueError, TypeError):
        return False
    return True


@lru_cache(maxsize=64)
def _verify_key(public_key: bytes) -> "VerifyKey":
    from nacl.signing import VerifyKey

    return VerifyKey(public_key)
