"""What callbacks are answered, and why they are refused."""

import math

from replyhook.errors import VerificationError
from replyhook_receiver.counters import reason_of
from replyhook_receiver.errors import Overloaded, StoreUnavailable
from replyhook_receiver.short_way import Answer
from replyhook_receiver.web.problems import RETRY_AFTER_SECONDS

_COME_AGAIN = (b"retry-after", str(RETRY_AFTER_SECONDS).encode())
_CLOSE = (b"connection", b"close")  # what is still coming of the body is not read

# One provider sends again whatever is not exactly this (PixVerse, PROVIDERS §2.2); all are content with it.
OK = Answer(200, b"ok")
# Which check failed is counted and never said: a stranger learns nothing.
NOT_VERIFIED = Answer(401, b"not verified")
NO_SUCH_PROVIDER = Answer(404, b"no such provider")
NOT_POST = Answer(405, b"only POST", (b"allow", b"POST"))
NOT_TO_LOOK_AT = Answer(
    405,
    b"only POST: providers call back at this address; a callback that came has its page at /callback/ and its id",
    (b"allow", b"POST"),
)
TOO_SLOW = Answer(408, b"the body did not come in time", _CLOSE)
GONE = Answer(400, b"gone", _CLOSE)
TOO_MANY_HEADERS = Answer(431, b"more headers than any provider sends", _CLOSE)
TOO_LARGE = Answer(413, b"the body is larger than any callback", _CLOSE)
AGAIN = Answer(503, b"not possible now, send it again", _COME_AGAIN)


def too_many(wait: float) -> Answer:
    """The answer to another wrong token from an address; ``wait`` is in seconds."""
    return Answer(429, b"too many wrong tokens from this address", (b"retry-after", b"%d" % max(1, math.ceil(wait))))


class Refused(Exception):
    """What is answered so. ``why`` is for the log, where the answer does not say it."""

    def __init__(self, answer: Answer, *, why: str | None = None, provider: str | None = None) -> None:
        super().__init__(why or answer.body["body"].decode())
        self.answer = answer
        self.provider = provider


def answer_to(error: Exception) -> Answer:
    """What is answered instead of ``OK``. What is our own trouble may be sent again."""
    match error:
        case Refused():
            return error.answer
        case VerificationError():
            return NOT_VERIFIED
        case TimeoutError():
            return TOO_SLOW
    return AGAIN


def reason_why(error: Exception) -> str | None:
    """Why it is refused, in fixed words that hold nothing of the request. None for a fault of ours."""
    match error:
        case Refused():
            return str(error)
        case TimeoutError():
            return "the body did not come in time"
        case Overloaded():
            return "more writes wait than may"
        case StoreUnavailable():
            return reason_of(error) or "the store takes nothing now"
    return reason_of(error)
