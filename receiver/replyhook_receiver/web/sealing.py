"""Sealing what is kept of an answer: it may hold a secret, and only the caller it was made for can open it again.

The key is made of the caller's own API key, of which the receiver keeps a hash alone: a copy of the database opens
nothing.
"""

import hashlib

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

_PERSON = b"replyhook-seal"
_MARK = b"sealed1:"


def seal(body: bytes, *, secret: str, about: str) -> bytes:
    """``body``, to be opened with the same ``secret`` and ``about``."""
    return _MARK + bytes(_box(secret, about).encrypt(body))


def unseal(sealed: bytes, *, secret: str, about: str) -> bytes | None:
    """What was sealed; what was kept before there was a seal, as it is; None where it cannot be opened."""
    if not sealed.startswith(_MARK):
        return sealed
    try:
        return bytes(_box(secret, about).decrypt(sealed.removeprefix(_MARK)))
    except (CryptoError, ValueError):
        return None


def _box(secret: str, about: str) -> SecretBox:
    words = b"".join(len(part).to_bytes(8, "big") + part for part in map(_bytes, (secret, about)))
    return SecretBox(hashlib.blake2b(words, digest_size=SecretBox.KEY_SIZE, person=_PERSON).digest())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
