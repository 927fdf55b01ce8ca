"""The deliveries of one job to one endpoint: which go before which, and which have become pointless by a later one."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from replyhook.notifications import NotificationType
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.stores.sql.among import of_one
from replyhook_receiver.stores.sql.connection import Cursor, Raw
from replyhook_receiver.stores.sql.rows import as_list

Pair = tuple[str, str]
"""An endpoint and a job."""

_PROGRESS = frozenset(kind.value for kind in NotificationType if kind.is_progress)
_ENDS = frozenset(kind.value for kind in NotificationType if kind.is_end)
_NOTIFY = TaskKind.NOTIFY.value
# By their jobs, which have few, and never by an endpoint, which may have had them all: hence the sum.
_SIBLINGS = f"""
    SELECT d.id, d.notification, d.status, d.endpoint_id, n.job_id, n.type,
        coalesce(t.state = 'leased' AND t.lease_until_ms > ?3, FALSE) AS is_under_way
    FROM notifications n JOIN deliveries d ON d.notification = n.sequence
    LEFT JOIN tasks t ON t.kind = '{_NOTIFY}' AND t.subject = d.id
    WHERE n.job_id IN (SELECT value FROM json_each(?1)) AND d.endpoint_id || '' IN (SELECT value FROM json_each(?2))
    ORDER BY n.sequence
"""  # noqa: S608 - a constant of ours


@dataclass(slots=True, kw_only=True)
class Sibling:
    """One of them; its status follows what the transaction makes of it."""

    id: str
    notification: int
    status: str
    type: str
    is_under_way: bool


class Siblings:
    """Those of many jobs and endpoints, asked for when it is made; nothing is waited for before they are looked at."""

    def __init__(self, raw: Raw, pairs: Iterable[Pair], now_ms: int) -> None:
        self._found: defaultdict[Pair, list[Sibling]] = defaultdict(list)
        wanted = set(pairs)
        self._asked: Cursor | None
        if len(wanted) == 1:
            ((endpoint, job),) = wanted
            self._asked = raw.execute(of_one(_SIBLINGS), (job, endpoint, now_ms))
        else:
            endpoints, jobs = ({pair[place] for pair in wanted} for place in (0, 1))
            self._asked = raw.execute(_SIBLINGS, (as_list(jobs), as_list(endpoints), now_ms))

    def of(self, pair: Pair) -> Sequence[Sibling]:
        """All of one pair, in their order."""
        if self._asked is not None:
            for row in self._asked:
                self._found[row["endpoint_id"], row["job_id"]].append(
                    Sibling(
                        id=row["id"],
                        notification=row["notification"],
                        status=row["status"],
                        type=row["type"],
                        is_under_way=bool(row["is_under_way"]),
                    )
                )
            self._asked = None
        return self._found[pair]


def can_be_superseded(kind: str) -> bool:
    """Whether a notification is of mere progress."""
    return kind in _PROGRESS


def superseded_by(notification: int, kind: str, siblings: Sequence[Sibling]) -> str | None:
    """The delivery of a later end, which makes one of mere progress pointless."""
    if not can_be_superseded(kind):
        return None
    ends = (each for each in siblings if each.notification > notification and each.type in _ENDS)
    return next((each.id for each in ends), None)
