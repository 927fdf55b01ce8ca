"""One page of a list: how many, whether there are more, and where the next one begins."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from replyhook_receiver.stores.windows import Listed, Windows


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


Row = TypeVar("Row", bound=_HasId)


def page_of(found: Sequence[Row], limit: int, show: Callable[[Row], Any]) -> dict[str, Any]:
    """A page, of one row more than it has: then there are more."""
    has_more = len(found) > limit
    return {
        "data": [show(each) for each in found[:limit]],
        "has_more": has_more,
        "next": found[limit - 1].id if has_more else None,
    }


async def looked_for(
    windows: Windows,
    of: Listed,
    *,
    before: str | None,
    limit: int,
    find: Callable[[str | None, int], Awaitable[Sequence[Row]]],
    show: Callable[[Row], Any],
) -> dict[str, Any]:
    """A page of what is looked for without an index: in so many rows. ``find`` is told how far down, and how many."""
    bottom = await windows.bottom(of, before=before)
    page = page_of(await find(bottom, limit + 1), limit, show)
    if not page["has_more"] and bottom is not None:
        return page | {"has_more": True, "next": bottom}
    return page
