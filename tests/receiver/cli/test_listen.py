"""`replyhook listen` as its user runs it: a process of its own, a real receiver, a real program to forward to."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from replyhook.ids import new_id
from replyhook.notifications import verify_notification
from replyhook_receiver.serving import free_socket, served
from replyhook_receiver.web.app import create_app
from tests.program import run
from tests.receiver.support import API_KEY, AUTH, SECRETS, WHSEC, a_host, says, settings_for, until


class Listener:
    """A running `replyhook listen`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.told: list[str] = []
        self.said: list[str] = []
        self._reading = [
            asyncio.create_task(_read(process.stdout, self.told)),
            asyncio.create_task(_read(process.stderr, self.said)),
        ]

    async def end(self) -> int:
        """Its exit code."""
        await asyncio.gather(*self._reading)
        return await self.process.wait()


async def _read(stream: asyncio.StreamReader | None, lines: list[str]) -> None:
    while stream is not None and (line := await stream.readline()):
        lines.append(line.decode().rstrip("\n"))


def leads_to(port: int) -> dict[str, str]:
    return {"REPLYHOOK_RECEIVER_URL": f"http://127.0.0.1:{port}", "REPLYHOOK_API_KEY": API_KEY, "PATH": ""}


@asynccontextmanager
async def listening(port: int, *arguments: str) -> AsyncIterator[Listener]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "replyhook_receiver", "listen", *arguments),
        env=leads_to(port),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            yield Listener(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def receiver(folder: Path, port: int = 0) -> AsyncIterator[tuple[httpx.AsyncClient, int]]:
    bound = free_socket(port=port)
    port = bound.getsockname()[1]
    app = create_app(settings_for(folder), secrets=SECRETS)
    async with served(app, bound) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        yield client, port


async def refused_job(client: httpx.AsyncClient, error: str = "no", **contents: str) -> str:
    """A job whose submit was refused: that is one event, ``job.failed``."""
    job = new_id("job")
    await client.put(f"/v1/jobs/{job}", json={"provider": "fal", **contents}, headers=AUTH)
    told = {"outcome": "refused", "error": error}
    assert (await client.post(f"/v1/jobs/{job}/submission", json=told, headers=AUTH)).status_code == 200
    return job


async def test_events_are_handed_on_signed_with_the_answer_shown_and_go_on_after_a_restart(tmp_path: Path) -> None:
    async with a_host() as program:
        url = program.will("/hooks", says(200), says(500)).replace("127.0.0.1", "localhost")
        async with receiver(tmp_path) as (client, port):
            running = listening(port, "-f", url, "--secret", WHSEC, "--count", "3", "-e", "job.failed")
            listener = await running.__aenter__()
            await until(lambda: "listening" in listener.said, seconds=60)
            jobs = [await refused_job(client, user="ann")]
            await until(lambda: len(listener.told) == 1)
        async with receiver(tmp_path, port) as (client, _):
            # Told while nobody could hear it, or not: it comes once.
            jobs += [await refused_job(client, user="ann"), await refused_job(client, user="ann")]
            assert await listener.end() == 0
            await running.__aexit__(None, None, None)
    assert [line.split()[2] for line in listener.told] == jobs
    assert [line.rpartition("→ ")[2] for line in listener.told] == ["200", "500", "500"]
    assert "listening again, from where it stopped" in listener.said
    notifications = [verify_notification(headers, body, WHSEC) for _, _, headers, body in program.seen]
    assert [told.data["id"] for told in notifications] == jobs
    assert len({told.id for told in notifications}) == 3


async def test_nobodys_words_move_the_terminal_and_a_pipe_gets_json(tmp_path: Path) -> None:
    hostile = "\x1b]0;owned\x07\x9b2J\u202egnp\r\nfake  job.succeeded"
    async with (
        receiver(tmp_path) as (client, port),
        listening(port, "--after", "0", "--count", "1") as lines,
        listening(port, "--after", "0", "--count", "1", "-o", "jsonl") as machine,
    ):
        job = await refused_job(client, error=hostile)
        assert (await lines.end(), await machine.end()) == (0, 0)
    (line,) = lines.told
    assert job in line
    assert "\\x1b]0;owned" in line
    assert line.isprintable()
    (text,) = machine.told
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text)["data"]["error"]["message"] == hostile


async def test_a_program_that_is_not_there_is_said_and_a_fresh_secret_is_printed_once(tmp_path: Path) -> None:
    with free_socket() as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    async with (
        receiver(tmp_path) as (client, port),
        listening(port, "-f", nobody, "--after", "0", "--count", "1") as it,
    ):
        await refused_job(client)
        assert await it.end() == 0
    assert "→ no answer" in it.told[0]
    assert sum("whsec_" in line for line in it.said) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("-f", "http://10.0.0.9/hooks"), 4, "--allow-remote"),
        (("-f", "ftp://localhost/"), 4, "http://localhost:3000/hooks"),
        (("-f", "http://localhost:1/", "--secret", "whsec_x"), 4, "whsec_"),
        (("-e", "job.slept"), 2, "video.stored"),
        (("--secret", WHSEC), 2, "for -f"),
        (("--job", "job_x"), 5, "no job"),
    ],
)
async def test_what_cannot_be_meant_is_refused_with_what_can(
    tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    async with receiver(tmp_path) as (_, port):
        ended = await asyncio.to_thread(run, "listen", *arguments, env=leads_to(port))
    assert (ended.returncode, said in ended.stderr) == (code, True), ended.stderr
