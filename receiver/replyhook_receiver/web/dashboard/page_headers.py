"""What every page is sent with: what a browser may load and do on it, and that nobody keeps it."""

from urllib.parse import urlsplit

_POLICY = {
    "default-src": "'self'",
    "img-src": "'self' data:",  # Pico's own icons stand in its style sheet as data
    "media-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
_ALWAYS = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=()",
    # With no-referrer a browser sends `Origin: null` with our own forms, and they could not be told from others'.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def page_headers(*, media_from: str | None = None) -> dict[str, str]:
    """The headers; ``media_from`` is the origin of the object store that videos come from, where there is one."""
    policy = dict(_POLICY)
    if media_from is not None:
        policy["img-src"] += f" {media_from}"
        policy["media-src"] += f" {media_from}"
    return {**_ALWAYS, "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items())}


def origin_of(link: str) -> str | None:
    """The origin of a link, as a policy names it; None where it would not be one."""
    try:
        parts = urlsplit(link)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return None
    host = parts.hostname or ""
    is_plain = host.isascii() and all(letter.isalnum() or letter in "-._" for letter in host)
    return f"{parts.scheme}://{host}{port}" if parts.scheme in ("http", "https") and host and is_plain else None
