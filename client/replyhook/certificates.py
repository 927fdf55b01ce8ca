"""Whom TLS trusts: read once, since reading it is most of what a client costs to make."""

import os
import ssl
from functools import cache

import httpx


def certificates() -> ssl.SSLContext:
    """What httpx trusts, too. The file or folder that the environment names is read anew: it may be another one now."""
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return httpx.create_ssl_context()
    return usual_certificates()


@cache
def usual_certificates() -> ssl.SSLContext:
    """The same without a look at the environment."""
    return httpx.create_ssl_context(trust_env=False)
