"""Links to stored videos for those without a key: signed, for one job's video, until a moment that they name.

Signed with the receiver's signing keys under a salt of their own, so that no token of another purpose is one of these.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from itsdangerous import BadSignature, Signer

from replyhook.ids import is_id
from replyhook_receiver.errors import LinkExpired, LinkUnknown

_SALT = "replyhook.video-link"
_MAX_TOKEN_LENGTH = 200
_NOT_OURS = "this link is none of ours"


class VideoLinks:
    """Makes and reads them. ``keys`` are newest first: the first signs, all verify."""

    def __init__(self, keys: Sequence[str], *, public_url: str, lifetime: timedelta) -> None:
        oldest_first = list(reversed(keys))
        self._signer = Signer(oldest_first, salt=_SALT, digest_method=hashlib.sha256, key_derivation="hmac")
        self._public_url = public_url.rstrip("/")
        self._lifetime = lifetime

    def url(self, job_id: str, at: datetime) -> str:
        """The link to a job's video that is told at this moment: always the same one."""
        until = int((at + self._lifetime).timestamp())
        return f"{self._public_url}/videos/{self._signer.sign(f'{job_id}.{until}').decode('ascii')}"

    def job_id(self, token: str, now: datetime) -> str:
        """Whose video a token opens. Raises ``LinkUnknown``, ``LinkExpired``."""
        if len(token) > _MAX_TOKEN_LENGTH or not token.isascii():
            raise LinkUnknown(_NOT_OURS)
        try:
            job_id, _, until = self._signer.unsign(token).decode("ascii").rpartition(".")
        except BadSignature as error:
            raise LinkUnknown(_NOT_OURS) from error
        if not is_id("job", job_id) or not until.isdecimal():
            raise LinkUnknown(_NOT_OURS)
        if now.timestamp() >= int(until):
            raise LinkExpired("this link to a video has run out; GET /v1/jobs/{id} tells a new one to those with a key")
        return job_id
