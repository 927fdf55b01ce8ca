"""A link to a host on nobody's list: fetched only where the provider itself, asked, names this very link."""

from collections import Counter
from urllib.parse import urlsplit

from replyhook_receiver.counters import Cause
from replyhook_receiver.errors import CannotAsk, HostNotListed, ResultMissing
from replyhook_receiver.records import JobRecord
from replyhook_receiver.work.asking import MAX_QUESTIONS, Asker


class HostConfirmer:
    """Asks providers to confirm links, and remembers what they said until the process ends."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._confirmed: set[tuple[str, str]] = set()
        self._questions: Counter[str] = Counter()

    async def confirm(self, job: JobRecord, url: str, error: HostNotListed) -> str:
        """The link's host, if the provider itself names this very link; asked at most once for each link."""
        link = (job.id, url.partition("?")[0])
        if link not in self._confirmed:
            self._questions[job.id] += 1
            if self._questions[job.id] > MAX_QUESTIONS:
                raise HostNotListed(
                    f"{error}, and the provider, asked {MAX_QUESTIONS} times, did not answer"
                ) from error
            try:
                answer = await self._asker.ask(job, Cause.FOREIGN_HOST)
            except (CannotAsk, ResultMissing) as why:
                raise HostNotListed(
                    f"{error}, and the provider could not be asked ({why}): add it to media_hosts"
                ) from why
            named = answer.event.result.url if answer.event and answer.event.result else ""
            if named.partition("?")[0] != url.partition("?")[0]:
                raise HostNotListed(f"{error}, and the provider, asked, does not name this link") from error
            self._confirmed.add(link)
        return urlsplit(url).hostname or ""
