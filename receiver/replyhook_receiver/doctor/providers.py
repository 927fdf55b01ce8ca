"""Whether each provider is set up as it must be: from what a receiver that runs tells, or from the settings here."""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime

import msgspec

from replyhook.messages import HTTPResponse
from replyhook.providers import PROVIDERS, CallbackKind, Capabilities, make_provider
from replyhook_receiver.doctor.configured import fal_users, provider_finding
from replyhook_receiver.doctor.examined import Examined
from replyhook_receiver.doctor.fal_users import users_finding
from replyhook_receiver.doctor.findings import Finding, fail, ok, warn
from replyhook_receiver.doctor.reached import public_keys
from replyhook_receiver.provider_setup import Missing, ProviderSetup, setup_of

_LAST = "SELECT received_ms FROM callbacks WHERE provider = ? AND source = 'callback' ORDER BY id DESC LIMIT 1"


class _PublicKeys(msgspec.Struct, kw_only=True):
    count: int
    age_seconds: int | None = None
    problem: str | None = None


class _Users(msgspec.Struct, kw_only=True):
    configured: int
    learned: int


class _Told(msgspec.Struct, kw_only=True):
    """What of a provider in `GET /v1/providers` matters here."""

    name: str
    has_key: bool
    missing: tuple[Missing, ...]
    jobs: int
    reply_urls: str | None
    can_call_back: bool
    media_hosts: tuple[str, ...]
    users: _Users | None
    public_keys: _PublicKeys | None
    verification_failures: Mapping[str, int]
    last_callback: datetime | None


class _ToldList(msgspec.Struct, kw_only=True):
    data: list[_Told]


def check_told(answer: HTTPResponse, wanted: Collection[str]) -> Iterator[Finding]:
    """Those ``wanted``, else all, as the receiver that runs tells of them."""
    try:
        every = msgspec.json.decode(answer.body, type=_ToldList).data
    except msgspec.DecodeError:
        yield fail(
            "providers",
            "the receiver does not tell what is looked at here: it is older than this command",
            "upgrade it, or run this where it runs, with --local",
        )
        return
    for told in every:
        if told.name in PROVIDERS and (not wanted or told.name in wanted):
            yield from _told(told, is_wanted=told.name in wanted)


def check_local(examined: Examined, wanted: Collection[str]) -> Iterator[Finding]:
    """The same from the settings and the database here; the public keys are fetched from here."""
    for name, provider in sorted(examined.settings.make_providers().items()):
        if wanted and name not in wanted:
            continue
        setup = setup_of(name, provider, public_url=examined.public_url)
        is_used = name in wanted or setup.has_key or examined.uses(name)
        yield from _set_up(provider.capabilities, setup, is_used=is_used)
        if not is_used:
            continue
        if provider.jwks_url:
            yield from public_keys(examined, name, provider.jwks_url, trouble=fail)
        if name == "fal":
            yield fal_users(examined)
        row = next(iter(examined.rows(_LAST, name)), None)
        at = None if row is None else datetime.fromtimestamp(row["received_ms"] / 1000, UTC)
        yield from _last_callback(provider.capabilities, at)


def _told(told: _Told, *, is_wanted: bool) -> Iterator[Finding]:
    known = make_provider(told.name).capabilities
    is_used = is_wanted or told.has_key or told.jobs > 0 or told.last_callback is not None
    setup = ProviderSetup(
        has_key=told.has_key,
        missing=told.missing,
        reply_urls=told.reply_urls,
        can_call_back=told.can_call_back,
        media_hosts=told.media_hosts,
    )
    yield from _set_up(known, setup, is_used=is_used)
    if not is_used:
        return
    if told.public_keys is not None:
        yield _kept_keys(told.name, told.public_keys)
    if told.users is not None:
        count = told.users.learned
        learned = f"{count} user{'s' if count > 1 else ''}" if count else ""
        yield users_finding(configured=told.users.configured, learned=learned)
    if told.verification_failures:
        reasons = ", ".join(f"{reason} ({count} times)" for reason, count in told.verification_failures.items())
        yield warn(
            f"{told.name} refused callbacks",
            f"not believed since the start: {reasons}",
            f"`replyhook verify --provider {told.name}` tells why one was not, check by check",
        )
    yield from _last_callback(known, told.last_callback)


def _set_up(known: Capabilities, setup: ProviderSetup, *, is_used: bool) -> Iterator[Finding]:
    """What the settings alone say."""
    lacks_secret = any((each.variable or "").endswith("__WEBHOOK_SECRETS") for each in setup.missing)
    yield provider_finding(known, has_key=setup.has_key, has_secret=not lacks_secret, is_used=is_used)
    if not is_used:
        return
    not_ready = [each.what for each in setup.missing if each.variable is None]
    if not_ready:
        found = "no webhook_id here: what the receiver submits itself is refused; programs that submit have their own"
        yield warn(f"{known.name} webhook", found, not_ready[0])
    elif known.callback is CallbackKind.ACCOUNT and not lacks_secret:
        yield ok(f"{known.name} webhook", "its webhook_id and its secret are set")
    if known.callback is not CallbackKind.NONE:
        yield _reply_urls(known.name, setup)
    yield _media_hosts(known.name, setup.media_hosts)


def _reply_urls(name: str, setup: ProviderSetup) -> Finding:
    check = f"{name} reply URLs"
    todo = "set public_url (or REPLYHOOK_PUBLIC_URL) to the https:// address that leads to the receiver"
    if setup.reply_urls is None:
        return fail(check, "none can be made: the receiver has no public URL", todo)
    if not setup.can_call_back:
        return fail(check, f"{setup.reply_urls}… is this machine alone, where {name} is not: it cannot call back", todo)
    return ok(check, f"{setup.reply_urls}…; `replyhook doctor` tells whether that leads to the receiver")


def _media_hosts(name: str, hosts: Collection[str]) -> Finding:
    check = f"{name} media hosts"
    if hosts:
        return ok(check, f"{', '.join(hosts)}; a link elsewhere is fetched only where its status call confirms it")
    found = "none is published and none is set: before each video the provider is asked whether the link is its own"
    return warn(check, found, f"set providers.{name}.media_hosts to the hosts that its links name")


def _kept_keys(name: str, keys: _PublicKeys) -> Finding:
    check = f"{name} public keys"
    todo = "let the receiver reach them (jwks_url, allowed_networks): without, new callbacks are answered 503"
    age = "" if keys.age_seconds is None else f", fetched {keys.age_seconds} s ago"
    if keys.problem is not None:
        told = fail if not keys.count else warn
        return told(check, f"{keys.count} at hand{age}; the last fetch failed: {keys.problem}", todo)
    if not keys.count:
        found = "not fetched yet: the first callback has them fetched"
        return warn(check, found, "`replyhook doctor`, or --local, where the receiver runs, tries whether they can be")
    return ok(check, f"{keys.count} at hand{age}")


def _last_callback(known: Capabilities, at: datetime | None) -> Iterator[Finding]:
    if known.callback is CallbackKind.NONE:
        return
    check = f"{known.name} last callback"
    yield ok(check, "none yet" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC")
