"""What a demo found: one row a provider, each with what is wrong with it, if anything is."""

from statistics import median
from typing import Any

import msgspec


class ProviderCalls(msgspec.Struct, kw_only=True, frozen=True):
    """Calls made to the provider, as the sandbox counted them."""

    submit: int = 0
    status: int = 0
    upload: int = 0


class JobResult(msgspec.Struct, kw_only=True, frozen=True):
    """One job's row. Seconds to stored and to notified count from the callback; without a ``problem`` all is right."""

    provider: str
    job_id: str | None = None
    trust: str | None = None
    seconds_to_callback: float | None = None
    seconds_to_stored: float | None = None
    seconds_to_notified: float | None = None
    bytes: int | None = None
    duration: float | None = None
    provider_calls: ProviderCalls = ProviderCalls()
    path: str | None = None
    ok: bool = False
    problem: str | None = None


class DemoResult(msgspec.Struct, kw_only=True, frozen=True):
    """The whole demo. The median is that of all jobs' ``seconds_to_notified``: push → notified."""

    ok: bool
    jobs: list[JobResult]
    seconds_to_notified_p50: float | None = None

    @classmethod
    def of(cls, jobs: list[JobResult]) -> "DemoResult":
        """The result of these jobs."""
        times = [job.seconds_to_notified for job in jobs if job.seconds_to_notified is not None]
        p50 = round(median(times), 3) if times else None
        return cls(ok=all(job.ok for job in jobs), jobs=jobs, seconds_to_notified_p50=p50)

    def as_json(self) -> bytes:
        """One JSON object."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)


class Expected(msgspec.Struct, kw_only=True, frozen=True):
    """What a row must show to be right."""

    trust: str
    uploads: int
    duration: float


DURATION_TOLERANCE_SECONDS = 0.15


def judge(
    found: dict[str, Any], *, expected: Expected, calls: ProviderCalls, notifications: int, refused: int
) -> str | None:
    """What is wrong with a job, or None. ``found`` is the job as the receiver and the file show it."""
    problems = []
    if found["status"] != "succeeded":
        problems.append(f"the job is {found['status']}, not succeeded")
    if found["trust"] != expected.trust:
        problems.append(f"the callback's trust is {found['trust']}, not {expected.trust}")
    if found["duration"] is None:
        problems.append("the file's length is not known: install replyhook[media]")
    elif abs(found["duration"] - expected.duration) > DURATION_TOLERANCE_SECONDS:
        problems.append(f"the video lasts {found['duration']:.2f} s, not {expected.duration:.2f} s")
    if found["digest"] != found["sha256"]:
        problems.append("the file's bytes are not those that the receiver stored")
    if notifications != 1:
        problems.append(f"{notifications} video.stored notifications came, not 1")
    if refused:
        problems.append(f"{refused} notifications did not verify")
    wanted = ProviderCalls(submit=1, status=0, upload=expected.uploads)
    if calls != wanted:
        problems.append(f"the provider was called {msgspec.to_builtins(calls)}, not {msgspec.to_builtins(wanted)}")
    return "; ".join(problems) or None
