"""Where videos are kept, as ``storage_url`` says it: a folder, or a bucket and what its names begin with."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,62}")
_PREFIX = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_MAX_PREFIX_LENGTH = 256
_SCHEMES = ("s3", "gs", "az")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket (S3, Google Cloud Storage) or container (Azure)."""

    scheme: str
    name: str
    prefix: str
    endpoint: str = ""


def read_place(url: str) -> Path | Bucket:
    """The folder or the bucket. Raises ``ValueError``, which never holds the URL."""
    scheme, _, rest = url.partition("://")
    if scheme in _SCHEMES:
        name, _, prefix = rest.partition("/")
        prefix = prefix.rstrip("/")
        fits = _BUCKET.fullmatch(name) and len(prefix) <= _MAX_PREFIX_LENGTH
        if not fits or (prefix and not _PREFIX.fullmatch(prefix)):
            raise ValueError(
                f"must be {scheme}://bucket or {scheme}://bucket/prefix in plain letters; keys stand in the environment"
            )
        return Bucket(scheme=scheme, name=name, prefix=prefix)
    if scheme == "file" and rest.startswith("/") and len(rest) > 1:
        return Path(rest)
    raise ValueError("must be file:///path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix")


def checked_endpoint(url: str) -> str:
    """The address of an object store. Raises ``ValueError``, which never holds the URL."""
    parts = urlsplit(url)
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise ValueError("must begin with https:// (or http://), name a host, and hold no keys and no query")
    return url.rstrip("/")
