"""What answers: the receiver on this machine, and whether the public URL leads to this very one."""

import secrets
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from replyhook.errors import UnreadableMessage
from replyhook.messages import HTTPRequest, HTTPResponse
from replyhook.transport import Transport
from replyhook.trouble import ConnectionTrouble
from replyhook_receiver.config import is_loopback
from replyhook_receiver.doctor.examined import Examined
from replyhook_receiver.doctor.fal_users import VARIABLE, setting_line
from replyhook_receiver.doctor.findings import Finding, fail, ok, warn
from replyhook_receiver.instance import Instance
from replyhook_receiver.stores.sqlite.serving_lock import Holder

_SECONDS = 10.0
_SLOW_SECONDS = 3.0
_SHORTEST_PROXY_SECONDS = 30
_PATIENCE = timedelta(seconds=30)
_FAL_ALLOWS = timedelta(minutes=5)
_GATEWAY = {502, 503, 504}
_START = "start it: `replyhook serve`"


def check_answering(examined: Examined) -> Iterator[Finding]:
    """Here first, then from outside."""
    yield from _here(examined)
    yield from _public(examined)


def _here(examined: Examined) -> Iterator[Finding]:
    try:
        answer, _ = _get(f"{examined.local_url}/readyz")
    except (ConnectionTrouble, UnreadableMessage):
        if examined.holder is None:
            yield warn("receiver", f"none runs: nothing answers at {examined.local_url}", _START)
        else:
            found = f"{examined.holder} holds the database, but nothing answers at {examined.local_url}"
            yield fail("receiver", found, "look at its log; if it hangs, end it and start it again")
        return
    ready = answer.object_or_none() or {}
    if "store" not in ready or "worker" not in ready:
        found = f"what answers at {examined.local_url} is no replyhook receiver (HTTP {answer.status})"
        yield fail("receiver", found, "another program has the port: end it, or set another port")
        return
    if examined.settings.postgres_url is not None:  # which one it is cannot be told, so it is told no key
        yield from _readiness(examined, ready)
        return
    if examined.holder is None:
        found = f"a receiver answers at {examined.local_url}, but not on this database"
        yield warn("receiver", found, "run doctor with that receiver's settings, or give this one another port")
        return
    if examined.holder.token and not _is_same(examined.local_url, examined.holder):  # before it is told a key
        found = f"what answers at {examined.local_url} is not {examined.holder}"
        yield fail("receiver", found, "another program has the port: end it, or set another port")
        return
    yield from _readiness(examined, ready)
    yield from _refused_users(examined)


def _readiness(examined: Examined, ready: Mapping[str, object]) -> Iterator[Finding]:
    todo = "look at its log; a restart loses nothing that was answered `ok`"
    yield (
        ok("receiver", f"answers at {examined.local_url}; its store takes writes")
        if ready["store"]
        else fail("receiver", "its store takes no writes", f"is the disk full or read-only? {todo}")
    )
    if ready["worker"] is False:
        yield fail("worker", "it stands still: nothing is downloaded", todo)
    elif ready["worker"]:  # else others do the work, if any
        yield ok("worker", "alive")
    if ready.get("downloads") not in (None, "ok", "running", "idle"):
        yield warn("downloads", f"they wait: {str(ready['downloads'])[:40]}", "see the disk")


def _is_same(url: str, holder: Holder) -> bool:
    """Whether the process that holds the database is who answers."""
    nonce = secrets.token_urlsafe(24)
    try:
        answer, _ = _get(f"{url}/healthz?nonce={nonce}")
    except (ConnectionTrouble, UnreadableMessage):
        return False
    return Instance(token=holder.token).made((answer.object_or_none() or {}).get("proof"), nonce)


def _refused_users(examined: Examined) -> Iterator[Finding]:
    """Whether callbacks signed for other fal users were refused since the start."""
    keys = examined.secrets["api_keys"]
    if not keys:
        return
    request = HTTPRequest(
        method="GET", url=f"{examined.local_url}/v1/refusals", headers={"authorization": f"Bearer {keys[0]}"}
    )
    try:
        told = _send(request).object_or_none() or {}
    except (ConnectionTrouble, UnreadableMessage):
        return
    reasons = _member(_member(told, "data") or told, "fal")
    count = sum(
        number for reason, number in reasons.items() if "another fal user" in reason and isinstance(number, int)
    )
    if count:
        yield fail(
            "fal user mismatch",
            f"{count} callbacks signed for another fal user than the pinned one were refused since the start",
            _how_to_let_in(examined),
        )


def _how_to_let_in(examined: Examined) -> str:
    """With the ids that are believed now; of a callback that is not believed nothing is kept, so not whose it was."""
    fal = examined.settings.make_providers()["fal"]
    known = getattr(fal, "user_ids", ()) or examined.senders("fal", fal.account)
    believed = f"; now it is {setting_line(known)}" if known else ""
    return (
        "of a refused callback nothing is kept, so not its user either, who is in its header X-Fal-Webhook-User-Id. "
        f"If that user is you, restart with its id added to {VARIABLE}, after a comma{believed}; `replyhook verify "
        "--provider fal` prints that line whole for a callback that you paste. If it is not you, somebody aims fal's "
        "callbacks at you, and they are refused as they should be"
    )


def _member(value: object, name: str) -> dict[str, object]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _public(examined: Examined) -> Iterator[Finding]:
    url, holder = examined.public_url, examined.holder
    if not url:
        yield fail("public URL", "none is set: no provider can call back", "set public_url to your https:// address")
        return
    if holder is None and examined.settings.postgres_url is None:
        yield warn("public URL", f"whether {url} leads here cannot be told while no receiver runs", _START)
        return
    nonce = secrets.token_urlsafe(24)
    try:
        answer, seconds = _get(f"{url}/healthz?nonce={nonce}")
    except (ConnectionTrouble, UnreadableMessage) as error:
        yield fail("public URL", f"{url} cannot be reached from here: {error}", "check its name, its TLS, its firewall")
        return
    if holder is None:
        found = f"{url} answers (HTTP {answer.status}, {seconds * 1000:.0f} ms); which receiver it is cannot be told"
        yield ok("public URL", found)
        return
    proof = (answer.object_or_none() or {}).get("proof")
    yield _leads_here(
        url, answer, is_proven=Instance(token=holder.token).made(proof, nonce), can_tell=bool(holder.token)
    )
    yield from _proxy(url, answer, seconds)
    yield _public_clock(url, answer)


def _leads_here(url: str, answer: HTTPResponse, *, is_proven: bool, can_tell: bool) -> Finding:
    check, status = "public URL", answer.status
    if status == 200 and is_proven and can_tell:
        return ok(check, f"{url} leads to this very receiver")
    if status == 200 and not can_tell:
        return warn(
            check,
            f"{url} answers, but the lock file does not tell whether it is this one",
            "run doctor as the receiver's user",
        )
    if 300 <= status < 400:
        return fail(
            check, f"{url} redirects (HTTP {status}): providers do not follow", "set public_url to where it leads"
        )
    if status in _GATEWAY:
        return fail(
            check,
            f"the proxy at {url} answered {status}: it does not get through to the receiver",
            "point it at where the receiver listens",
        )
    if status == 200:
        return fail(
            check, f"{url} answers, but it is another receiver, or a cache", "point its name or its proxy at this one"
        )
    return fail(
        check,
        f"{url} answered {status} to /healthz: it is not this receiver, or its proxy lets that path not through",
        "point it at this receiver; let GET /healthz through as well as POST /callbacks/*",
    )


def _proxy(url: str, answer: HTTPResponse, seconds: float) -> Iterator[Finding]:
    """What can be seen of one from one answer: its names, how long it took, how long it says it holds connections."""
    names = [answer.headers[name] for name in ("server", "via") if answer.headers.get(name)]
    if not names:
        return
    who = _plain(", ".join(names))
    if seconds > _SLOW_SECONDS:
        yield warn(
            "proxy", f"{who}: an answer took {seconds:.1f} s through {url}", "what slows it? providers give up soon"
        )
    else:
        yield ok("proxy", f"{who}: an answer took {seconds:.2f} s; its time-outs cannot be seen from here")
    told = answer.headers.get("keep-alive", "").partition("timeout=")[2].partition(",")[0].strip()
    if told.isdecimal() and len(told) < 7 and int(told) < _SHORTEST_PROXY_SECONDS:
        yield warn(
            "proxy", f"it says that it closes idle connections after {told} s", "let streams (/v1/stream) live longer"
        )


def _public_clock(url: str, answer: HTTPResponse) -> Finding:
    found = clock_finding("clock (public URL)", urlsplit(url).hostname or "", answer.headers.get("date"))
    return found or warn(
        "clock (public URL)",
        f"{url} tells no time",
        "let the proxy send Date; see that this machine keeps its clock (NTP)",
    )


def clock_finding(check: str, host: str, date: str | None) -> Finding | None:
    """How this machine's clock goes beside another's ``Date``; None where it told none that can be read."""
    try:
        theirs = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    theirs = theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC)
    apart = datetime.now(UTC) - theirs
    seconds = abs(apart.total_seconds())
    if is_loopback(host):
        return ok(check, "on this machine, so it is the same clock: of the clock itself that tells nothing")
    way = "ahead of" if apart > timedelta() else "behind"
    if timedelta(seconds=seconds) > _FAL_ALLOWS:
        return fail(
            check,
            f"this machine is {seconds:.0f} s {way} {host}",
            "set the clock (NTP): fal's callbacks are refused beyond 300 s",
        )
    if timedelta(seconds=seconds) > _PATIENCE:
        return warn(check, f"this machine is {seconds:.0f} s {way} {host}", "set the clock (NTP)")
    return ok(check, f"within {max(seconds, 1):.0f} s of {host}'s")


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:80])


def _get(url: str) -> tuple[HTTPResponse, float]:
    begun = time.monotonic()
    return _send(HTTPRequest(method="GET", url=url, headers={"cache-control": "no-cache"})), time.monotonic() - begun


def _send(request: HTTPRequest) -> HTTPResponse:
    transport = Transport(timeout_seconds=_SECONDS)
    try:
        return transport.send(request)
    finally:
        transport.close()
