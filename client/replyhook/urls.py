"""Reading and showing URLs: which are http(s) addresses at all, and what of one may be shown."""

from urllib.parse import SplitResult, urlsplit


def http_parts(url: str) -> SplitResult | None:
    """The parts of an absolute http(s) URL with a host and, if any, a possible port; else None."""
    if any(ord(letter) <= 32 or ord(letter) == 127 for letter in url):
        return None
    try:
        url.encode()  # half of a surrogate pair cannot be sent
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0
    return parts if is_right else None


def shown_url(url: str) -> str:
    """A URL without what may be secret in it: credentials, query and fragment."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=host, query="", fragment="").geturl()
    except ValueError:
        return "(not a URL)"
