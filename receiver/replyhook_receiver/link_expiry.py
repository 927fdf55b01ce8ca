"""When a video's link ends: what the link itself says, else what its provider's documents say. Pure.

Links that are signed say it in their query: S3 and what speaks its language, Google, Azure, CloudFront, OSS, COS.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

_FAMILIES = ("x-amz", "x-goog", "x-oss", "x-tos", "x-obs")
_SIGNED_BY = frozenset(
    {"signature", "sig", "awsaccesskeyid", "googleaccessid", "key-pair-id", "ossaccesskeyid", "policy", "hmac", "token"}
)
_LONGEST_NUMBER = 12
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)  # else it is none
_MAX_FIELDS = 100

LAST_CALL = timedelta(hours=1)
"""So long before its link ends a video that is not stored is told of; or a quarter of the link's life, if less."""


@dataclass(frozen=True, slots=True)
class LinkLife:
    """From when to when a link answers, as far as anybody knows."""

    told_at: datetime
    ends_at: datetime

    @property
    def last_call_at(self) -> datetime:
        """When it is time to say that the video is not stored yet."""
        return self.ends_at - min(LAST_CALL, max((self.ends_at - self.told_at) / 4, timedelta(0)))


def life_of(url: str, *, told_at: datetime, lifetime: timedelta) -> LinkLife:
    """The life of a link that was told at ``told_at``, where its provider's links live for ``lifetime``."""
    return LinkLife(told_at, said_by(url) or told_at + lifetime)


def said_by(url: str) -> datetime | None:
    """When ``url`` says that it ends; the earliest, should it say several; None where it does not."""
    try:
        fields = parse_qsl(urlsplit(url).query, max_num_fields=_MAX_FIELDS)
    except ValueError:
        return None
    query = {name.lower(): value for name, value in fields}
    found = [_from_date_and_seconds(query, family) for family in _FAMILIES]
    if _SIGNED_BY & query.keys():
        found += [_unix(query.get("expires", "")), _iso(query.get("se", ""))]
    found.append(_unix(query.get("q-sign-time", "").partition(";")[2]))
    return min((end for end in found if end is not None and _EARLIEST <= end <= _LATEST), default=None)


def _from_date_and_seconds(query: Mapping[str, str], family: str) -> datetime | None:
    seconds = _number(query.get(f"{family}-expires", ""))
    if seconds is None:
        return None
    try:
        begun = datetime.strptime(query.get(f"{family}-date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return begun + timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        return None


def _unix(text: str) -> datetime | None:
    seconds = _number(text)
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _iso(text: str) -> datetime | None:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER else None
