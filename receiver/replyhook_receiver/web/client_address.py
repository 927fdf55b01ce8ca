"""Whose request it is: the peer's, or, behind proxies that are trusted, the address that they saw."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_HOPS = 16
UNKNOWN = "unknown"


def client_address(scope: Scope, trusted: Sequence[Network]) -> str:
    """The right-most address that is not a trusted proxy's; ``X-Forwarded-For`` counts only from such a proxy.

    Whatever stands left of an entry that is no address is the stranger's own invention, and so is everything beyond
    ``MAX_HOPS``: then it is the last proxy believed. ``UNKNOWN`` for a peer without an address (a Unix socket).
    """
    peer = scope.get("client")
    address = _read(peer[0]) if peer else None
    if address is None:
        return UNKNOWN
    if not _is_trusted(address, trusted):
        return str(address)
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    hops = forwarded.rsplit(b",", MAX_HOPS)[-MAX_HOPS:]
    for hop in reversed(hops):
        entry = _read(hop.decode("latin-1"))
        if entry is None:
            break
        address = entry
        if not _is_trusted(address, trusted):
            break
    return str(address)


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


def _read(text: str) -> Address | None:
    """An address as proxies write it: with a port, in brackets, with a zone; IPv4 inside IPv6 is IPv4."""
    text = text.strip(" \t")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
