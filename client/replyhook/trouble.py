"""Requests that got no answer, as the rest of the library sees them."""

from replyhook.errors import ReplyhookError


class ConnectionTrouble(ReplyhookError):
    """A request got no answer. ``maybe_sent`` is False only when it certainly never left."""

    retryable = True

    def __init__(self, words: str, *, maybe_sent: bool) -> None:
        self.maybe_sent = maybe_sent
        super().__init__(words)


class Elsewhere(ConnectionTrouble):
    """The place that an answer led to did not give what was asked for."""

    def __init__(self, words: str) -> None:
        super().__init__(words, maybe_sent=True)


def not_fetched(error: ConnectionTrouble) -> str:
    """Why a stored video was not had, and from whom."""
    leads = "the place to which the receiver leads for its videos"
    return f"{leads if isinstance(error, Elsewhere) else 'the receiver'} could not be reached: {error}"
