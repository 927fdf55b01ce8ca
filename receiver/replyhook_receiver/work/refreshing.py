"""A link that is refused: its provider is asked for a fresh one, a few times. A job is never generated again."""

from collections.abc import Callable
from datetime import datetime

from replyhook.jobs import JobStatus
from replyhook_receiver.counters import Cause
from replyhook_receiver.errors import CannotAsk, LinkDead, LinkRefused, ReceiverTrouble
from replyhook_receiver.records import JobRecord
from replyhook_receiver.stores.base import Store
from replyhook_receiver.work.asking import MAX_QUESTIONS, Asker, as_report


class LinkRefresher:
    """Asks for fresh links. Refusals are counted for each link, questions for each job, in the store, whoever asks."""

    def __init__(self, *, store: Store, asker: Asker, now: Callable[[], datetime]) -> None:
        self._store = store
        self._asker = asker
        self._now = now

    async def after_refusal(self, job: JobRecord, error: LinkRefused) -> LinkRefused | LinkDead:
        """What to raise: that it is worth another try, with the fresh link where there is one, or that it is not.

        A media host may also say "not found" before it has the file everywhere, so the same link is tried again.
        """
        refused = await self._store.links.count_refusal(job.id, job.asset.url or "")
        is_last = refused.times >= MAX_QUESTIONS
        if refused.questions >= MAX_QUESTIONS:
            words = f"{error}, and the provider was asked {refused.questions} times for another"
            return LinkDead(words) if is_last else LinkRefused(words)
        try:
            has_fresh = await self._keep_fresh_link(job, refused.questions)
        except CannotAsk as why:
            words = f"{error}, and the provider could not be asked for a fresh one ({why})"
            return LinkDead(words) if is_last else LinkRefused(words)
        except ReceiverTrouble as why:
            words = f"{error}, and the provider, asked for a fresh one, did not say: {why}"
            return LinkDead(words) if is_last else LinkRefused(words)
        if has_fresh:
            return LinkRefused(f"{error}; the provider, asked, has a fresh one")
        words = f"{error}, and the provider, asked, has no other"
        return LinkDead(words) if is_last else LinkRefused(words)

    async def _keep_fresh_link(self, job: JobRecord, questions: int) -> bool:
        """Ask, and keep the answer as one more telling of a known fact; whether it tells another link."""
        await self._store.links.count_question(job.id, questions + 1)  # first: a killed process may have asked
        try:
            answer = await self._asker.ask(job, Cause.DEAD_LINK)
        except CannotAsk:
            await self._store.links.count_question(job.id, questions)
            raise
        event = answer.event
        if event is None or event.status is not JobStatus.SUCCEEDED or event.result is None:
            return False
        await self._store.accept(as_report(job, event, answer.response, self._now()))
        return event.result.url != job.asset.url
