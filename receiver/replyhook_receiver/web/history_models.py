"""What the API answers about what happened: callbacks, events, replays, one job's timeline, what a name stands for."""

from replyhook.jobs import AssetStatus, JobStatus, Trust
from replyhook.notifications import NotificationType
from replyhook_receiver.lifecycle import TaskKind, Verdict
from replyhook_receiver.records import DeliveryStatus, ReportSource, SubmissionOutcome
from replyhook_receiver.web.answer_models import ErrorTold, Job, Moment, Page, Told


class Said(Told):
    """What was read in a report. ``word`` is the provider's own; ``status`` is null where we do not know that word."""

    status: JobStatus | None
    word: str | None
    progress: int | None
    provider_job_id: str | None
    has_result: bool
    result_url: str | None
    error: ErrorTold | None


class CallbackTold(Told, kw_only=True):
    """One request from a provider, without what came in it."""

    id: str
    provider: str
    account: str
    job_id: str | None
    orphan: bool
    source: ReportSource
    received_at: Moment
    age_seconds: int
    trust: Trust
    verdict: Verdict | None
    bytes: int
    told: Said | None


class CallbackPage(Page):
    """Some callbacks."""

    data: list[CallbackTold]


class WholeCallback(CallbackTold):
    """A callback with its headers and its body, as text or base64; ``body_masked``: something in it is hidden."""

    headers: list[list[str]]
    body: str
    body_encoding: str
    body_masked: bool
    body_dropped: bool


class EventTold(Told, kw_only=True):
    """One fact about a job, kept once however often it was told."""

    id: str
    provider: str
    account: str
    job_id: str | None
    callback_id: str
    source: ReportSource
    verdict: Verdict | None
    created_at: Moment
    link_dead: bool
    status: JobStatus | None
    word: str | None
    progress: int | None
    provider_job_id: str | None
    has_result: bool
    result_url: str | None
    error: ErrorTold | None


class EventPage(Page):
    """Some events."""

    data: list[EventTold]


class ReadAgain(Told):
    """What was read in a callback then, and what is read in it now."""

    kept: Said | None
    now: Said | None
    changed: bool
    problem: str | None


class StandingTold(Told):
    """How a job stands."""

    status: JobStatus
    progress: int | None
    video: AssetStatus


class ReplayedTold(Told):
    """What came of a replay, or would come of it."""

    dry_run: bool
    callback_id: str | None
    job_id: str | None
    read: ReadAgain
    verdict: Verdict | None
    before: StandingTold | None
    after: StandingTold | None
    tasks: list[str]
    announced: list[NotificationType]
    deliveries: int
    withheld_deliveries: int
    download: str | None
    notify: str | None


class Named(Told):
    """What a name stands for: ``what`` it names, and the job it belongs to, where that is known."""

    what: str
    id: str
    job_id: str | None


class NamedList(Told):
    """All that is called so; at most 20 are told."""

    data: list[Named]
    has_more: bool


class _Entry(Told, kw_only=True, tag_field="kind"):
    at: Moment


class _Beginning(_Entry):
    reference: str | None
    user: str | None


class Registered(_Beginning, tag="registered"):
    """Its caller told us of it."""


class Appeared(_Beginning, tag="appeared"):
    """A callback's token told us of it."""


class Submitting(_Entry, tag="submitting"):
    """The receiver began to submit it."""


class SubmissionTold(_Entry, tag="submission"):
    """What became of the submit."""

    outcome: SubmissionOutcome
    error: str | None


class CallbackEntry(_Entry, tag="callback"):
    """Its provider called back."""

    id: str
    source: ReportSource
    trust: Trust
    verdict: Verdict | None
    bytes: int
    told: Said | None


class NotificationEntry(_Entry, tag="notification"):
    """Something was announced."""

    id: str
    type: NotificationType
    status: JobStatus | None
    progress: int | None


class TaskEntry(_Entry, tag="task"):
    """Work on it, as it stands."""

    task: TaskKind
    state: str
    attempts: int
    problem: str | None
    created_at: Moment
    due_at: Moment | None


class StoredEntry(_Entry, tag="stored"):
    """Its video was stored."""

    bytes: int | None
    sha256: str | None
    content_type: str | None
    duration: float | None


class DeliveryEntry(_Entry, tag="delivery"):
    """A notification was brought to an endpoint, or is to be. ``counted``: tries that count since it was put back."""

    id: str
    notification_id: str
    type: NotificationType
    channel: str
    endpoint_id: str
    endpoint_name: str | None
    endpoint: str
    endpoint_removed: bool
    status: DeliveryStatus
    attempts: int
    counted: int
    answer: int | None
    problem: str | None
    created_at: Moment
    delivered_at: Moment | None


TimelineEntry = (
    Registered
    | Appeared
    | Submitting
    | SubmissionTold
    | CallbackEntry
    | NotificationEntry
    | TaskEntry
    | StoredEntry
    | DeliveryEntry
)


class Timeline(Told):
    """Everything that is kept of one job, oldest first. ``is_whole``: nothing was left out."""

    job: Job
    now: Moment
    data: list[TimelineEntry]
    is_whole: bool
