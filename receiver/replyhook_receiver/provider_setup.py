"""How a provider is set up here: what is there, what is missing, and whether it can call back."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from replyhook.errors import ConfigurationError, VerificationError
from replyhook.providers import CallbackKind, Provider
from replyhook_receiver.config import PREFIX, is_loopback


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What has to be set: what it is, and the variable that sets it, where one does."""

    what: str
    variable: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSetup:
    """One provider's. ``reply_urls`` is what its reply URLs begin with, None where it calls nobody back;
    ``can_call_back`` whether they lead anywhere for it.
    """

    has_key: bool
    missing: tuple[Missing, ...]
    reply_urls: str | None
    can_call_back: bool
    media_hosts: tuple[str, ...]


def setup_of(name: str, provider: Provider, *, public_url: str) -> ProviderSetup:
    """How ``provider`` is set up at a receiver with this public URL (empty: it has none)."""
    known = provider.capabilities
    calls_back = known.callback is not CallbackKind.NONE
    is_reached = _is_elsewhere(public_url) or not _is_elsewhere(getattr(provider, "base_url", ""))
    return ProviderSetup(
        has_key=bool(provider.api_key),
        missing=tuple(_missing(name, provider)),
        reply_urls=f"{public_url}/callbacks/{name}/" if calls_back and public_url else None,
        can_call_back=calls_back and is_reached,
        media_hosts=known.media_hosts,
    )


def _is_elsewhere(url: str) -> bool:
    return not is_loopback(urlsplit(url).hostname or "localhost")


def _missing(name: str, provider: Provider) -> list[Missing]:
    """What has to be set before a job can be submitted, or a callback be believed."""
    known = provider.capabilities
    found = []
    if not provider.api_key:
        found.append(Missing(what="its API key", variable=known.key_variable))
    try:
        provider.check_ready()
    except ConfigurationError as error:
        found.append(Missing(what=str(error), variable=None))
    if known.callback is CallbackKind.ACCOUNT:
        try:
            provider.callback_secrets(provider.account)
        except VerificationError as error:
            variable = f"{PREFIX}PROVIDERS__{name}__WEBHOOK_SECRETS".upper()
            found.append(Missing(what=str(error), variable=variable))
    return found
