"""What the end of a try to deliver changes: the attempt, the delivery, its endpoint, and who may go next."""

import logging
from datetime import datetime
from typing import Any

import msgspec

from replyhook.notifications import NotificationType
from replyhook_receiver import logs
from replyhook_receiver.answers import Answer
from replyhook_receiver.endpoints import GIVEN_UP_WITH_IT, GONE
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.records import JobRecord
from replyhook_receiver.retries import DISABLED_AFTER
from replyhook_receiver.stores.base import Describe
from replyhook_receiver.stores.sql import turns
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.departures import Departures
from replyhook_receiver.stores.sql.facts import announce
from replyhook_receiver.stores.sql.kept import give_up_kept
from replyhook_receiver.stores.sql.places import note_failure, note_success
from replyhook_receiver.stores.sql.rows import to_ms
from replyhook_receiver.stores.sql.turns import Turn
from replyhook_receiver.tasks import Dead, Done, Retry, Task
from replyhook_receiver.told import whole_body

_log = logging.getLogger(__name__)

_FAILS = "it has failed for a day"

_END_ATTEMPT = """
    UPDATE attempts SET ended_ms = ?, took_ms = ?, status = ?, answer = ?, problem = ?
    WHERE delivery_id = ?6 AND number = (SELECT max(number) FROM attempts WHERE delivery_id = ?6)
"""
_DELIVERED = """
    UPDATE deliveries SET status = 'delivered', answer = ?, delivered_ms = ?, problem = NULL WHERE id = ?
"""
_DISABLE = """
    UPDATE endpoints SET disabled_ms = ?, disabled_why = ? WHERE id = ? AND disabled_ms IS NULL
"""


def keep_delivery(
    raw: Raw,
    task: Task,
    outcome: Done | Retry | Dead,
    state: str,
    *,
    now: datetime,
    describe: Describe,
    departures: Departures,
) -> None:
    """Keep what became of a try; ``state`` is the task's after it."""
    turn = departures.turn(task.subject)
    if turn is None:
        return
    _end_attempt(raw, task, outcome, now)
    if turn.status == "pending":
        _keep(raw, turn, outcome, state, now, departures)
        if outcome.answer is not None and not isinstance(outcome, Done):
            _judge_endpoint(raw, turn, outcome.answer, now, describe, departures)
    departures.leave(turn.place)


def let_others_in(task: Task, departures: Departures) -> None:
    """A try has ended whose claim was taken away: its room is free."""
    turn = departures.turn(task.subject)
    if turn is not None:
        departures.leave(turn.place)


def _keep(
    raw: Raw, turn: Turn, outcome: Done | Retry | Dead, state: str, now: datetime, departures: Departures
) -> None:
    match outcome:
        case Done(answer=Answer() as answer):
            raw.execute(_DELIVERED, (answer.status, to_ms(now), turn.id))
            note_success(raw, turn.place)
            heard = "UPDATE endpoints SET failing_since_ms = NULL WHERE id = ? AND failing_since_ms IS NOT NULL"
            raw.execute(heard, (turn.endpoint_id,))
            departures.hear(turn)
            departures.follow(turn)
        case Retry(problem=problem) | Dead(problem=problem):
            status = None if outcome.answer is None else outcome.answer.status
            raw.execute("UPDATE deliveries SET problem = ?, answer = ? WHERE id = ?", (problem, status, turn.id))
            later = turns.later_end(raw, turn, now)
            if later is not None:
                turns.supersede(raw, turn.id, later, to_ms(now))
                departures.follow(turn)
            elif state == "dead" and not _waits_for_enabling(turn, outcome):
                turns.bury(raw, turn.id, problem, to_ms(now))
                departures.follow(turn)
            elif state == "dead":
                due = "UPDATE tasks SET state = 'ready', due_ms = ?, finished_ms = NULL WHERE kind = ? AND subject = ?"
                raw.execute(due, (to_ms(now), TaskKind.NOTIFY, turn.id))


def _waits_for_enabling(turn: Turn, outcome: Done | Retry | Dead) -> bool:
    """Whether what is gone now may be back when it is enabled; an endpoint of one job alone is not."""
    return turn.is_standing and outcome.answer is not None and outcome.answer.is_gone


def _end_attempt(raw: Raw, task: Task, outcome: Done | Retry | Dead, now: datetime) -> None:
    answer = outcome.answer or Answer(status=None)
    problem = None if isinstance(outcome, Done) else outcome.problem
    values = (to_ms(now), answer.took_ms, answer.status, answer.text or None, problem, task.subject)
    raw.execute(_END_ATTEMPT, values)


def _judge_endpoint(
    raw: Raw, turn: Turn, answer: Answer, now: datetime, describe: Describe, departures: Departures
) -> None:
    """An endpoint that does not take what it is brought is left alone for a while, and in the end disabled."""
    note_failure(raw, turn.place, answer, now)
    failing = "UPDATE endpoints SET failing_since_ms = coalesce(failing_since_ms, ?) WHERE id = ?"
    raw.execute(failing, (to_ms(now), turn.endpoint_id))
    has_failed_for_long = now - departures.fails_since(turn, now) >= DISABLED_AFTER
    if answer.is_gone:
        _disable(raw, turn, GONE, now)
        if not turn.is_standing:  # nobody looks after it, as of one that is registered
            give_up_kept(raw, turn.endpoint_id, before_ms=None, why=GIVEN_UP_WITH_IT, now=now)
            departures.forget()
    elif turn.is_standing and has_failed_for_long and _disable(raw, turn, _FAILS, now):
        announce(raw, turn.job_id, NotificationType.ENDPOINT_DISABLED, now, _with_endpoint(describe, turn))


def _disable(raw: Raw, turn: Turn, why: str, now: datetime) -> bool:
    """Whether it was not disabled before."""
    is_new = raw.execute(_DISABLE, (to_ms(now), why, turn.endpoint_id)).rowcount == 1
    if is_new:
        about = logs.fields(delivery_id=turn.id, job_id=turn.job_id)
        _log.warning("the endpoint %s is disabled: %s; its deliveries wait", turn.endpoint_id, why, extra=about)
    return is_new


def _with_endpoint(describe: Describe, turn: Turn) -> Describe:
    """Bodies about the job whose notification failed last, which name the endpoint."""

    def body(job: JobRecord, kind: NotificationType, at: datetime) -> bytes:
        content: dict[str, Any] = msgspec.json.decode(whole_body(describe(job, kind, at)))
        endpoint = {"id": turn.endpoint_id, "channel": turn.place.partition(" ")[0], "reason": _FAILS}
        return msgspec.json.encode({**content, "data": {**content["data"], "endpoint": endpoint}})

    return body
