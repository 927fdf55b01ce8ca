"""What an endpoint answered to a delivery."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How one try to deliver ended on the other side.

    ``status`` is the channel's own (HTTP's, SMTP's), None where nothing was answered; ``text`` is safe to keep.
    ``pause`` is what the endpoint asked for, ``is_gone`` that it asked not to be called again.
    """

    status: int | None
    text: str = ""
    took_ms: int | None = None
    pause: timedelta | None = None
    is_gone: bool = False
