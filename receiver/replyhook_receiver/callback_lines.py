"""What the log says of callbacks to look into: of each kind only so many lines, since strangers may cause them."""

import logging
import time
from collections.abc import Callable, Mapping

from replyhook_receiver import logs
from replyhook_receiver.errors import DetachedLimit
from replyhook_receiver.lifecycle import Verdict
from replyhook_receiver.records import Accepted

MANY = 60
"""How many lines a minute there are of what is kept in the database anyway, of a kind and provider."""
_WINDOW_SECONDS = 60.0
_log = logging.getLogger(__name__)


class _Window:
    """The lines of one kind and provider within a minute, and how many were left out since the last one."""

    __slots__ = ("ends_at", "left_out", "written")

    def __init__(self) -> None:
        self.ends_at = float("-inf")
        self.written = 0
        self.left_out = 0


class CallbackLines:
    """Writes them. The kinds and the providers are ours, so few windows are kept."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, str], _Window] = {}

    def kept(self, provider: str, accepted: Accepted) -> None:
        """A callback was kept; what is as it should be has no line."""
        verdict, kept = accepted.verdict, accepted.callback_id
        if verdict is not Verdict.CONFLICT and verdict is not Verdict.UNRECOGNISED:
            return
        left_out = self._left_out(verdict.value, provider, MANY)
        if left_out is None:
            return
        about = _about(provider, accepted.job_id, callback_id=kept)
        which = f"the callback {kept} of {provider} about {accepted.job_id or 'no job that is known'}"
        if verdict is Verdict.CONFLICT:
            words = "%s contradicts what was told before, or names another job: replyhook callbacks get %s%s"
            _log.warning(words, which, kept, left_out, extra=about)
        else:
            words = "%s is not understood; it is kept: replyhook callbacks get %s --raw%s"
            _log.info(words, which, kept, left_out, extra=about)

    def other_sender(self, provider: str, job_id: str | None) -> None:
        """A callback was refused, since it names another sender than the pinned ones. Who that is, is not told."""
        left_out = self._left_out("other sender", provider, 1)
        if left_out is not None:
            variable = f"REPLYHOOK_PROVIDERS__{provider.upper()}__USER_IDS"
            _log.warning(
                "a callback of %s about %s was refused: it names another user than the pinned one. If that user is "
                "yours, set %s to all of yours (replyhook doctor says who is pinned); if not, somebody else has one of "
                "your reply URLs%s",
                *(provider, job_id or "an account", variable, left_out),
                extra=_about(provider, job_id),
            )

    def detached_limit(self, provider: str, job_id: str | None, error: DetachedLimit) -> None:
        """A callback was put off, since its user has too many detached jobs."""
        left_out = self._left_out("detached limit", provider, 1)
        if left_out is not None:
            words = "%s: set REPLYHOOK_MAX_DETACHED_JOBS higher, or take the reply key off%s"
            _log.warning(words, error, left_out, extra=_about(provider, job_id))

    def _left_out(self, kind: str, provider: str, per_minute: int) -> str | None:
        """What a line is to add of those that were left out before it; None where it is itself to be left out."""
        window = self._windows.setdefault((kind, provider), _Window())
        now = self._clock()
        if now >= window.ends_at:
            window.ends_at, window.written = now + _WINDOW_SECONDS, 0
        if window.written >= per_minute:
            window.left_out += 1
            return None
        window.written += 1
        left_out, window.left_out = window.left_out, 0
        return f" ({left_out} more like it since the last such line)" if left_out else ""


def _about(provider: str, job_id: str | None, **more: str) -> dict[str, Mapping[str, str | float]]:
    return logs.fields(provider=provider, **({"job_id": job_id} if job_id else {}), **more)
