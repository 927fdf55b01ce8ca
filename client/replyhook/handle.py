"""The handle of a submitted job: wait for the push, look, take the video, cancel."""

import math
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path

from replyhook.arguments import ClientSettings, Known, file_path
from replyhook.errors import ReceiverUnavailable, WaitTimeout
from replyhook.flows import with_purpose
from replyhook.messages import HTTPRequest, HTTPResponse
from replyhook.notifications import Notification
from replyhook.results import JobResult
from replyhook.steps import Purpose
from replyhook.transport import OnProgress, Transport
from replyhook.trouble import ConnectionTrouble, not_fetched
from replyhook.watching import OnTrouble, Until, Watch, check_wait

OnEvent = Callable[[Notification], object]


class JobHandle:
    """A submitted job. ``id`` is ours; ``request`` shows what was really asked for, None where it was found again.

    ``tried`` are the providers that had refused it before, each with its error; ``warnings`` is what the receiver said,
    when the job was registered, that will not work for it.
    """

    def __init__(self, transport: Transport, settings: ClientSettings, known: Known) -> None:
        self._transport = transport
        self._settings = settings
        self.id = known.id
        self.provider = known.provider
        self.reference = known.reference
        self.request = known.request
        self.provider_job_id = known.provider_job_id
        self.reply_url = known.reply_url
        self.tried = known.tried
        self.warnings = known.warnings

    def __repr__(self) -> str:
        return f"<JobHandle {self.id} at {self.provider}>"

    def wait(
        self,
        timeout: float | None = None,
        *,
        until: Until = "stored",
        past_overdue: bool = False,
        on_event: OnEvent | None = None,
        on_trouble: OnTrouble | None = None,
    ) -> Notification:
        """Block until the video is stored (or the provider has ``succeeded``), told by the receiver's push.

        ``timeout`` is in seconds; None waits for ever. ``on_event`` is called with each notification, from the job's
        first. ``on_trouble`` is told why the receiver cannot be heard, once until it is
        heard again. Returns the notification that ended the wait, at once where the job has ended before. Raises
        ``JobFailed``; ``JobOverdue``, unless ``past_overdue``; ``WaitTimeout``; and the receiver's refusals. It may be
        called again after each of them.
        """
        check_wait(timeout, until)
        watch = Watch(self, until, past_overdue=past_overdue, on_trouble=on_trouble)
        with closing(self._follow(watch, timeout)) as notifications:
            for notification in notifications:
                if on_event is not None:
                    on_event(notification)
        return watch.outcome()

    def events(self, timeout: float | None = None) -> Iterator[Notification]:
        """What was announced of the job, from the first, then what is announced as it comes, until the job has ended.

        How it ended, the last one tells: nothing is raised for a failure. Raises ``WaitTimeout``.
        """
        check_wait(timeout)
        return self._follow(Watch(self, past_overdue=True), timeout)

    def result(self) -> JobResult:
        """The job as the receiver knows it now: status, video, error. Raises ``JobNotFound``."""
        receiver = self._settings.need_receiver("result()")
        return receiver.parse_job(self._send(receiver.build_job(self.id), Purpose.RECEIVER))

    def download(self, path: str | os.PathLike[str], *, on_progress: OnProgress | None = None) -> Path:
        """Save the stored video as the file ``path``, from the receiver: the provider's own link may be long dead.

        ``on_progress`` is told the bytes so far, and how many it will be. Raises ``VideoNotStored`` before
        the video is stored, ``VideoGone`` when it never will be, ``UnreadableMessage`` when bytes are missing.
        """
        receiver = self._settings.need_receiver("download()")
        target = file_path(Path(path))
        try:
            answer = self._transport.download(receiver.build_video(self.id), target, on_progress)
        except ConnectionTrouble as error:
            raise ReceiverUnavailable(not_fetched(error)) from error
        receiver.raise_unless_video(answer)
        return target

    def cancel(self) -> None:
        """Ask the provider itself to cancel the job. What it then calls back decides: ``wait()`` tells.

        Raises ``CancelNotPossible``, before anything is sent where the provider cannot or its key is not here.
        """
        provider, request = self._settings.cancel(self.provider, self.provider_job_id)
        provider.parse_cancel(self._send(request, Purpose.CANCEL))

    def _send(self, request: HTTPRequest, purpose: Purpose) -> HTTPResponse:
        try:
            return self._transport.send(request)
        except ConnectionTrouble as error:
            raise with_purpose(error, purpose, maybe_sent=error.maybe_sent) from error

    def _follow(self, watch: Watch, timeout: float | None) -> Generator[Notification]:
        receiver = self._settings.need_receiver("waiting")
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = math.inf if deadline is None else max(deadline - time.monotonic(), 0.001)
            watch.connect()
            request = receiver.build_stream(self.id, after=watch.cursor, seconds=left)
            try:
                with closing(self._transport.events(request, seconds=left)) as events:
                    for event in events:
                        if isinstance(event, HTTPResponse):
                            receiver.raise_for_problem(event)
                        else:
                            if told := watch.take(event.event, event.id, event.data):
                                yield told
                            if watch.has_ended:
                                return
                        self._check_deadline(deadline, watch)
            except (ConnectionTrouble, ReceiverUnavailable) as error:
                if deadline is None or time.monotonic() < deadline:
                    watch.lose(str(error))  # the stream is opened again where it was cut
            self._check_deadline(deadline, watch)
            time.sleep(min(watch.next_pause(), left))

    def _check_deadline(self, deadline: float | None, watch: Watch) -> None:
        if deadline is not None and time.monotonic() > deadline:
            raise WaitTimeout(watch.timed_out(), job=self)
