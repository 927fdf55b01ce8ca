"""Telling one running receiver from another: it proves, to whoever may read its lock file, that it is itself."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One run of a receiver. Its token is made at the start and used for nothing else."""

    token: str = field(repr=False)

    @classmethod
    def fresh(cls) -> "Instance":
        """A new one."""
        return cls(token=secrets.token_urlsafe(32))

    def proof(self, nonce: str) -> str | None:
        """What only this run answers to ``nonce``; None for one that is no nonce of ours."""
        if not _NONCE.fullmatch(nonce):
            return None
        return hmac.new(self.token.encode(), nonce.encode(), hashlib.sha256).hexdigest()

    def made(self, proof: object, nonce: str) -> bool:
        """Whether ``proof`` is this run's answer to ``nonce``."""
        return isinstance(proof, str) and hmac.compare_digest(proof.encode(), (self.proof(nonce) or "").encode())
