"""Why a callback is believed or not, check by check, in words that never hold what would have been right."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from replyhook.errors import NoMatchingKey, UnreadableMessage, VerificationError
from replyhook.messages import Callback, read_json
from replyhook.providers import CallbackKind, Provider, VerificationKeys
from replyhook.signatures import parse_unix_seconds
from replyhook.tokens import ReplyKeys, ReplyToken, TokenKeys
from replyhook_receiver.doctor.fal_users import setting_line
from replyhook_receiver.doctor.findings import Finding, Outcome, fail, ok, warn

_HEADERS = {
    "fal": tuple(f"x-fal-webhook-{name}" for name in ("request-id", "user-id", "timestamp", "signature")),
    "pixverse": ("webhook-timestamp", "webhook-nonce", "webhook-signature"),
}
_RAW = "a signature covers the bytes as they came: whatever stands in front must pass them on unread"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """One provider as it is set up here, with the keys at hand."""

    provider: Provider = field(repr=False)
    keys: VerificationKeys = field(repr=False)
    now: datetime

    def judge(self, callback: Callback) -> Iterator[Finding]:
        """Every check, in the receiver's order."""
        known = self.provider.capabilities
        if known.callback is CallbackKind.NONE:
            yield fail(
                "provider", f"{known.title} calls nobody back: no callback is from it", "see who else may have sent it"
            )
            return
        if not known.signed:
            yield ok("signature", f"{known.title} signs nothing: the token in the reply URL is all there is")
        else:
            yield from self._signed(callback)
        yield self._body(callback)

    def _signed(self, callback: Callback) -> Iterator[Finding]:
        names = _HEADERS.get(self.provider.capabilities.name, ())
        given = [name for name, _ in callback.headers]
        missing = [name for name in names if name not in given]
        twice = [name for name in names if given.count(name) > 1]
        if missing or twice:
            what = f"missing: {', '.join(missing)}" if missing else f"sent more than once: {', '.join(twice)}"
            yield fail("headers", what, "a proxy may have dropped or doubled them; or the paste is not whole")
            return
        yield ok("headers", ", ".join(names))
        yield from self._sender(callback)
        sent_at, timely = self._time(callback, next(name for name in names if name.endswith("timestamp")))
        yield timely
        yield self._signature(callback, sent_at)

    def _sender(self, callback: Callback) -> Iterator[Finding]:
        sender = self.provider.sender(callback)
        if sender is None:
            return
        pinned = getattr(self.provider, "user_ids", ()) or self.keys.senders
        if not pinned:
            yield ok("sender", "no user is pinned yet: the first callback that is believed pins its own")
        elif sender in pinned:
            yield ok("sender", "the pinned user")
        else:
            line = setting_line((*pinned, sender))
            todo = f"if that user is you and the signature is right, restart with {line}; if not, leave it refused"
            yield fail("sender", f"for the user {sender}, who is not pinned", todo)

    def _time(self, callback: Callback, name: str) -> tuple[datetime, Finding]:
        try:
            sent_at = parse_unix_seconds(callback.header(name), what=name)
        except VerificationError as error:
            return self.now, fail("time", str(error), "it is seconds since 1970, in digits")
        away = (self.now - sent_at).total_seconds()
        words = f"sent {abs(away):.0f} s {'before' if away >= 0 else 'after'} it came"
        at_its_time = self._refusal(callback, at=sent_at)
        if _words(self._refusal(callback, at=self.now)) != _words(at_its_time):
            todo = "give the time it came with --at; if that is now, check the clocks, or it is a replay"
            return sent_at, fail("time", f"{words}: too far apart", todo)
        return sent_at, ok("time", words)

    def _signature(self, callback: Callback, sent_at: datetime) -> Finding:
        check, count = "signature", len(self.keys.public_keys) or len(self.keys.secrets)
        refusal = self._refusal(callback, at=sent_at)
        if refusal is None:
            return ok(check, "made with a key at hand, over these very bytes")
        if not isinstance(refusal, NoMatchingKey):
            return fail(check, str(refusal), "was it cut off, or changed by a proxy, on its way here? paste it whole")
        if not count:
            return fail(check, "there is no key to check it with", "give the receiver's settings, or --jwks")
        for words, body, outcome in _variants(callback.body):
            if self._refusal(msgspec.structs.replace(callback, body=body), at=sent_at) is None:
                return Finding(check=check, outcome=outcome, found=f"it fits the body {words}", todo=_RAW)
        others = [name for name in self._accounts() if self._refusal(callback, at=sent_at, account=name) is None]
        if others:
            return fail(check, f"made with the secret of the account {others[0]!r}, not of this one", "--account")
        found = f"none of the {count} keys at hand made it over this body"
        return fail(check, found, "a rotated or another account's key, a changed header or a changed body")

    def _accounts(self) -> list[str]:
        return [getattr(self.provider, "account", ""), *getattr(self.provider, "accounts", {})]

    def _refusal(self, callback: Callback, *, at: datetime, account: str | None = None) -> VerificationError | None:
        """Why it is refused, whoever sent it, if it had come at that time."""
        provider, secrets = self.provider, self.keys.secrets
        if getattr(provider, "user_ids", ()):
            provider = dataclasses.replace(provider, user_ids=())  # type: ignore[type-var] # providers are dataclasses
        try:
            if account is not None:
                secrets = provider.callback_secrets(account)
            keys = VerificationKeys(public_keys=self.keys.public_keys, secrets=secrets)
            provider.verify(callback, keys=keys, now=at)
        except VerificationError as error:
            return error
        return None

    def _body(self, callback: Callback) -> Finding:
        try:
            event = self.provider.parse_callback(callback)
        except UnreadableMessage as error:
            return warn("body", f"nobody can read it: {error}", "the receiver keeps such a callback as `unrecognised`")
        if event.status is None:
            return warn("body", "its status is no word that we know", "the receiver keeps it as `unrecognised`")
        return ok("body", f"it says: {event.status.value}")


def judge_token(
    token: str, *, provider: str, kind: CallbackKind, tokens: TokenKeys | None, reply_keys: ReplyKeys | None
) -> tuple[Finding, ReplyToken | None]:
    """Whether a reply URL's token is one of ours, and what it says."""
    if tokens is None:
        return warn("token", "there is no signing key here to check it with", "give the receiver's settings"), None
    try:
        try:
            read = tokens.read(token, provider=provider)
        except VerificationError:
            if reply_keys is None:
                raise
            read = reply_keys.read(token, provider=provider)
    except VerificationError as error:
        todo = "was it cut off or changed, is it another provider's, or has its signing key been taken off the list?"
        return fail("token", str(error), todo), None
    if kind is not (CallbackKind.ACCOUNT if read.job_id is None else CallbackKind.PER_JOB):
        found = "a token of ours, but of the kind that this provider does not call back with"
        return fail("token", found, "give the provider the URL that `replyhook providers url` or the job names"), None
    about = f"the account {read.account}" if read.job_id is None else f"{read.job_id}, minted {read.issued_at:%Y-%m-%d}"
    return ok("token", f"ours, for {about}"), read


def _words(refusal: VerificationError | None) -> str | None:
    return None if refusal is None else str(refusal)


def _variants(body: bytes) -> Iterator[tuple[str, bytes, Outcome]]:
    """What becomes of bodies on their way, and of pastes."""
    stripped = body.rstrip(b"\r\n")
    yield "without the line end after it, which a paste or an editor adds", stripped, Outcome.WARN
    yield "with a line end after it, which a paste or an editor takes off", stripped + b"\n", Outcome.WARN
    unix = body.replace(b"\r\n", b"\n")
    yield "with other line ends: something has changed them", unix, Outcome.FAIL
    yield "with other line ends: something has changed them", unix.replace(b"\n", b"\r\n"), Outcome.FAIL
    yield "without the byte order mark in front", body.removeprefix(b"\xef\xbb\xbf"), Outcome.FAIL
    try:
        read_json(body)
        content = json.loads(body)
    except (UnreadableMessage, ValueError, RecursionError):
        return
    for separators in ((",", ":"), (", ", ": ")):
        for is_ascii in (True, False):
            text = json.dumps(content, separators=separators, ensure_ascii=is_ascii)
            words = "written anew: something has read the JSON and written it again"
            yield words, text.encode("utf-8", "surrogatepass"), Outcome.FAIL
