"""Which names are one media host: what one provider's entry covers is, however many names a stranger makes up in it."""

from collections.abc import Callable, Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

CountedAs = Callable[[str], str]
"""What a URL's host is counted as."""


class MediaHosts:
    """``entries`` are the providers' media hosts: a name, or with a leading dot all names that end so."""

    def __init__(self, entries: Iterable[str]) -> None:
        known = {entry.lower() for entry in entries}
        self._names = frozenset(entry for entry in known if not entry.startswith("."))
        self._endings = sorted((entry for entry in known if entry.startswith(".")), key=len)

    def counted_as(self, url: str) -> str:
        """The shortest entry with a leading dot that covers it, else the name itself; of a name on no list its end."""
        host = host_of(url)
        for ending in self._endings:
            if host.endswith(ending):
                return ending
        if host in self._names or _is_address(host):
            return host
        return ".".join(host.split(".")[-2:])


def host_of(url: str) -> str:
    """A URL's host; empty where it has none."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".").lower()
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
