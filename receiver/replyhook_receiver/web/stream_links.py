"""Signed links that open the stream without a key, for a browser: short-lived, and good for one filter only."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec

from replyhook.errors import VerificationError
from replyhook.tokens import TokenKeys
from replyhook_receiver.stores.streams import StreamFilter
from replyhook_receiver.web.auth import Access

LONGEST_LINK = timedelta(minutes=5)
MAX_OPEN = 8
"""Streams that one link may have open at a time."""

_PURPOSE = "stream-link"


class LinkClaims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a link holds: whose key made it, until when it opens, and the filter. Signed, not encrypted."""

    key_id: str
    expires: int
    key_user: str | None = None
    jobs: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    snapshot: bool = False

    @property
    def access(self) -> Access:
        """What the key gave when the link was made."""
        return Access(key_id=self.key_id, user=self.key_user)

    @property
    def wanted(self) -> StreamFilter:
        """The filter."""
        return StreamFilter(
            jobs=frozenset(self.jobs),
            users=frozenset(self.users),
            types=frozenset(self.types),
            providers=frozenset(self.providers),
            references=frozenset(self.references),
        )

    def __repr__(self) -> str:
        return "<LinkClaims>"  # users and references are nobody's business


class StreamLinks:
    """Makes links and reads them, and counts the streams that each has open."""

    def __init__(self, *, tokens: TokenKeys, public_url: str) -> None:
        self._tokens = tokens
        self._public_url = public_url.rstrip("/")
        self.open: Counter[str] = Counter()

    def make(self, access: Access, wanted: StreamFilter, *, snapshot: bool, expires_at: datetime) -> str:
        """The URL of a new link. Raises ``InvalidRequest`` where the filter does not fit into one."""
        claims = LinkClaims(
            key_id=access.key_id,
            key_user=access.user,
            expires=int(expires_at.timestamp()),
            jobs=tuple(sorted(wanted.jobs)),
            users=tuple(sorted(wanted.users)),
            types=tuple(sorted(wanted.types)),
            providers=tuple(sorted(wanted.providers)),
            references=tuple(sorted(wanted.references)),
            snapshot=snapshot,
        )
        return f"{self._public_url}/streams/{self._tokens.mint_for(_PURPOSE, msgspec.json.encode(claims))}"

    def read(self, token: str, *, now: datetime) -> LinkClaims:
        """What a link holds. Raises ``VerificationError`` unless we made it, and not too long ago."""
        try:
            claims = msgspec.json.decode(self._tokens.read_for(_PURPOSE, token), type=LinkClaims)
        except msgspec.DecodeError as error:
            raise VerificationError("the link is not one of ours") from error
        if datetime.fromtimestamp(claims.expires, UTC) < now:
            raise VerificationError("the link has expired; ask for a new one")
        return claims
