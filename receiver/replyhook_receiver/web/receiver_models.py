"""What the API answers about the receiver itself: its keys, its work, how it is."""

from msgspec import UNSET, UnsetType

from replyhook_receiver.keys import Scope
from replyhook_receiver.web.answer_models import Moment, Page, Told


class Key(Told, kw_only=True):
    """An API key, without the key."""

    id: str
    starts_with: str
    name: str | None
    scopes: list[Scope]
    user: str | None
    state: str
    created_at: Moment
    expires_at: Moment | None
    last_used_at: Moment | None
    revoked_at: Moment | None


class MadeKey(Key):
    """A key that was just made; ``key`` is shown this once."""

    key: str


class KeyPage(Page):
    """Some keys."""

    data: list[Key]


class HoldTold(Told):
    """Whether the work is paused, since when, what for."""

    held: bool
    since: Moment | None
    reason: str | None


class Downloads(Told):
    """How the downloads do."""

    state: str
    problem: str | None
    waiting: int
    expiring: int
    next_link_ends_at: Moment | None


class StreamLink(Told):
    """A link that opens the stream without a key."""

    url: str
    expires_at: Moment


class Alive(Told):
    """The process answers."""

    ok: bool
    proof: str | UnsetType = UNSET


class Ready(Told):
    """Whether callbacks are taken, reach the disk, and work is being done."""

    ok: bool
    store: bool
    worker: bool | None
    """None where this process does no work: ``workers`` then tells how many others do."""
    downloads: str
    work: str
    workers: int | UnsetType | None = UNSET
