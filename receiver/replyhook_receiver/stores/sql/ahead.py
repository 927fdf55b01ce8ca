"""What a batch of reports needs to know, read for all of them at once."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from replyhook_receiver.records import JobRecord, NotifyTarget
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.rows import JOB_COLUMNS, PLAIN_COLUMNS, as_list, job_from, target_from

_HAS_ENDPOINTS = "EXISTS (SELECT 1 FROM endpoints e WHERE e.job_id = j.id AND e.removed_ms IS NULL)"
# Nobody has told anything of a job without trust: it has no video, and most callbacks are the first of their job.
_JOBS = f"""
    SELECT {PLAIN_COLUMNS}, {_HAS_ENDPOINTS} AS has_endpoints FROM jobs j WHERE j.id IN (SELECT value FROM json_each(?))
"""  # noqa: S608 - ours
_TOLD_JOBS = f"""
    SELECT {JOB_COLUMNS} FROM jobs j JOIN assets a ON a.job_id = j.id WHERE j.id IN (SELECT value FROM json_each(?))
"""  # noqa: S608 - ours
_ENDPOINTS = """
    SELECT * FROM endpoints WHERE job_id IN (SELECT value FROM json_each(?)) AND removed_ms IS NULL ORDER BY id
"""
_EVENTS = "SELECT key FROM events WHERE key IN (SELECT value FROM json_each(?))"

_ERASED = "SELECT job_id FROM erased WHERE job_id IN (SELECT value FROM json_each(?))"
_CALLED = """
    SELECT provider_job_id FROM jobs
    WHERE provider = ? AND account = ? AND provider_job_id IN (SELECT value FROM json_each(?))
"""

Endpoints = dict[str, list[tuple[str, NotifyTarget]]]
"""Those that hear of one job alone, by job."""


def known_of(
    raw: Raw, told: Sequence[tuple[str, str | None]]
) -> tuple[dict[str, JobRecord], Endpoints, dict[str, bool]]:
    """The jobs that there are, their endpoints, and which facts are known.

    ``told`` are jobs' ids, each with the key of what is told of it.
    """
    jobs: dict[str, JobRecord] = {}
    endpoints: Endpoints = {}
    with_endpoints = []
    for row in raw.execute(_JOBS, (as_list(job_id for job_id, _ in told),)):
        job = job_from(row, has_video=False)
        jobs[job.id] = job
        endpoints[job.id] = []
        if row["has_endpoints"]:
            with_endpoints.append(job.id)
    with_trust = {job_id for job_id, job in jobs.items() if job.trust is not None}
    if with_trust:
        for row in raw.execute(_TOLD_JOBS, (as_list(with_trust),)):
            job = job_from(row)
            jobs[job.id] = job
    if with_endpoints:
        for row in raw.execute(_ENDPOINTS, (as_list(with_endpoints),)):
            endpoints[row["job_id"]].append((row["id"], target_from(row)))
    facts = {key: False for _, key in told if key is not None}
    # The first fact that is kept of a job sets its trust: without one there is none to be known.
    asked = [key for job_id, key in told if key is not None and job_id in with_trust]
    if asked:
        facts.update((row["key"], True) for row in raw.execute(_EVENTS, (as_list(asked),)))
    return jobs, endpoints, facts


def erased_of(raw: Raw, job_ids: Sequence[str]) -> dict[str, bool]:
    """Of jobs that are not there, which were erased."""
    found = dict.fromkeys(job_ids, False)
    if found:
        found.update((row["job_id"], True) for row in raw.execute(_ERASED, (as_list(found),)))
    return found


def uncalled_of(raw: Raw, told: Iterable[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    """Of providers' names for jobs, each with its provider and account, those that no job has."""
    wanted: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for provider, account, name in told:
        wanted[provider, account].add(name)
    found = set()
    for (provider, account), names in wanted.items():
        taken = {row["provider_job_id"] for row in raw.execute(_CALLED, (provider, account, as_list(sorted(names))))}
        found |= {(provider, account, name) for name in names - taken}
    return found
