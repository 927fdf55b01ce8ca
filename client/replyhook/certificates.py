"""Whom TLS trusts: read once, since reading it is most of what a client costs to make."""

import os
import ssl
from functools import cache, lru_cache

import httpx


def certificates() -> ssl.SSLContext:
    """What httpx trusts, too: what the environment names, read anew when that is another file or has changed."""
    named = os.environ.get("SSL_CERT_FILE")
    if not named and not os.environ.get("SSL_CERT_DIR"):
        return usual_certificates()
    try:
        found = os.stat(named or "")
    except OSError:  # a folder, which is looked into when it is needed; or what httpx has its own words for
        return httpx.create_ssl_context()
    return _named_certificates(named, found.st_ino, found.st_size, found.st_mtime_ns)


@cache
def usual_certificates() -> ssl.SSLContext:
    """The same without a look at the environment."""
    return httpx.create_ssl_context(trust_env=False)


@lru_cache(maxsize=4)
def _named_certificates(*_version: object) -> ssl.SSLContext:
    return httpx.create_ssl_context()
