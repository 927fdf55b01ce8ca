"""`kill -9` in the middle of a relayed submit: whatever the moment, no provider is ever sent a job twice."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("av", reason="the sandbox makes real videos")

from replyhook_receiver.serving import free_socket
from tests.faults.harness import Server, a_server
from tests.faults.relayed import PROMPTS, Sandbox, a_sandbox, relay, shown
from tests.receiver.support import until


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with a_sandbox(tmp_path / "sandbox") as running:
        yield running


def submissions(data_dir: Path) -> dict[str, str | None]:
    """How each provider's submit ended, as the receiver noted it."""
    with closing(sqlite3.connect(f"file:{data_dir / 'replyhook.db'}?mode=ro", uri=True)) as raw:
        return dict(raw.execute("SELECT provider, submission FROM jobs").fetchall())


def stored_told(data_dir: Path) -> list[int]:
    """How often each job's stored video was announced."""
    statement = "SELECT count(*) FROM notifications WHERE type = 'video.stored' GROUP BY job_id"
    with closing(sqlite3.connect(f"file:{data_dir / 'replyhook.db'}?mode=ro", uri=True)) as raw:
        return [count for (count,) in raw.execute(statement)]


Moment = Callable[[Sandbox, Path], Awaitable[None]]


async def as_soon_as_taken(_sandbox: Sandbox, _data_dir: Path) -> None:
    return None


async def when_sent(sandbox: Sandbox, _data_dir: Path) -> None:
    await until(lambda: sandbox.all_have("submit"))


async def while_it_is_made(sandbox: Sandbox, _data_dir: Path) -> None:
    await when_sent(sandbox, _data_dir)
    await asyncio.sleep(0.5)


async def when_billed(sandbox: Sandbox, _data_dir: Path) -> None:
    async def one_is() -> bool:
        return any([(await sandbox.calls(provider))["billed"] for provider in PROMPTS])

    await until(one_is, seconds=60)


async def when_noted(_sandbox: Sandbox, data_dir: Path) -> None:
    await until(lambda: all(submissions(data_dir).values()), seconds=60)


@pytest.mark.parametrize(
    "moment", [as_soon_as_taken, when_sent, while_it_is_made, when_billed, when_noted], ids=lambda each: each.__name__
)
async def test_a_submit_that_a_kill_came_upon_is_never_sent_again(
    tmp_path: Path, sandbox: Sandbox, moment: Moment
) -> None:
    data_dir = tmp_path / "data"
    with free_socket() as free:
        port = free.getsockname()[1]
    settings = sandbox.settings
    async with a_server(data_dir, changed="short-leases", port=port, **settings) as server:
        jobs = {provider: await relay(server, sandbox, provider) for provider in PROMPTS}
        await moment(sandbox, data_dir)
        await server.kill()
    in_the_middle = {provider for provider, outcome in submissions(data_dir).items() if outcome is None}

    async with a_server(data_dir, changed="short-leases", port=port, **settings) as server:
        await until(lambda: all(submissions(data_dir).values()), seconds=60)
        await asyncio.sleep(2.5)  # longer than a lease: time for one submit too many
        ended = {provider: await shown(server, job_id) for provider, job_id in jobs.items()}
        calls = {provider: await sandbox.calls(provider) for provider in PROMPTS}
        assert all(call["submit"] <= 1 and call["billed"] <= 1 for call in calls.values()), calls
        outcomes = submissions(data_dir)
        if moment in (when_sent, while_it_is_made):
            assert in_the_middle == set(PROMPTS)
            assert set(outcomes.values()) == {"unknown"}
            # Nothing but its answer could have told of Segmind's job: it is announced at once, and stays so.
            assert (ended["segmind"]["status"], ended["segmind"]["overdue_reason"]) == (
                "unknown",
                "submit_unknown: the receiver was stopped in the middle of the submit",
            )
        if moment is when_noted:
            assert set(outcomes.values()) == {"accepted"}
        if calls["fal"]["submit"]:  # fal calls back all the same, and that settles it
            await until(lambda: _is_stored(server, jobs["fal"]), seconds=60)
        assert {provider: (await sandbox.calls(provider))["submit"] for provider in PROMPTS} == {
            provider: call["submit"] for provider, call in calls.items()
        }
        assert set(stored_told(data_dir)) <= {1}, "a stored video was announced twice"


async def _is_stored(server: Server, job_id: str) -> bool:
    return bool((await shown(server, job_id))["video"]["status"] == "stored")
