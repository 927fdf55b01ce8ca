"""No `ok` before its fsync, seen in the system calls: a killed process keeps the page cache, a machine does not.

Each callback carries a job id that is found again in the page written to the write-ahead log; each sender has one
connection, by whose port its answers are known.
"""

import asyncio
import re
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from replyhook.ids import new_id
from tests.faults.harness import Server, a_server
from tests.faults.providers import TOKENS
from tests.receiver.support import useapi_body

SENDERS = 12
CALLBACKS_EACH = 20
_CALLS = "pwrite64,pwritev,fsync,fdatasync,write,writev,sendto,sendmsg"
_LINE = re.compile(
    r"^(?P<thread>\d+) +(?:<\.\.\. (?P<resumed>\w+) resumed>|(?P<call>\w+)\((?P<fd>\d+)<(?P<target>[^>]*(?:->)?[^>]*)>)"
)
_JOB = re.compile(r"job_[0-9a-z]{26}")
_OK = re.compile(r"HTTP/1\.1 200 OK.*content-length: 2\\r\\n", re.IGNORECASE)


@dataclass
class Trace:
    """What the server did, by line of the trace."""

    written: dict[str, int] = field(default_factory=dict)
    """By job: the first write of its page to the write-ahead log."""
    synced: list[tuple[int, int]] = field(default_factory=list)
    """Begin and end of every sync of the write-ahead log."""
    answered: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    """By port: every `ok`, in order."""

    @classmethod
    def read(cls, path: Path) -> "Trace":
        trace, syncing = cls(), dict[str, int]()
        for number, line in enumerate(path.read_text(errors="replace").splitlines()):
            match = _LINE.match(line)
            if match is None:
                continue
            if match["resumed"]:
                if match["resumed"] in ("fsync", "fdatasync") and match["thread"] in syncing:
                    trace.synced.append((syncing.pop(match["thread"]), number))
            elif match["target"].endswith("-wal"):
                trace._log_call(match["call"], match["thread"], line, number, syncing)
            elif _OK.search(line) and (peer := re.search(r"->127\.0\.0\.1:(\d+)\]", line)):
                trace.answered[int(peer[1])].append(number)
        return trace

    def _log_call(self, call: str, thread: str, line: str, number: int, syncing: dict[str, int]) -> None:
        if call.startswith("pwrite"):
            for job in _JOB.findall(line):
                self.written.setdefault(job, number)
        elif "unfinished" in line:
            syncing[thread] = number
        else:
            self.synced.append((number, number))

    def too_early(self, sent: dict[int, list[str]]) -> list[str]:
        """The jobs whose `ok` went out before a sync that began after their page was written and was over by then."""
        answers = [(job, at) for port, jobs in sent.items() for job, at in zip(jobs, self.answered[port], strict=True)]
        return [job for job, at in answers if not self._is_synced(self.written.get(job), at)]

    def batches(self) -> list[int]:
        """How many jobs' pages came new into the log between one sync and the next."""
        begins = [-1, *(begin for begin, _ in self.synced)]
        sizes = [sum(before < at < begin for at in self.written.values()) for before, begin in pairwise(begins)]
        return [size for size in sizes if size]

    def _is_synced(self, written: int | None, answered: int) -> bool:
        return written is not None and any(written < begin and end < answered for begin, end in self.synced)


async def test_every_answer_comes_after_the_sync_of_what_it_answers(tmp_path: Path) -> None:
    trace, sent = await traced(tmp_path)
    batches = trace.batches()
    assert len(batches) >= 5
    assert max(batches) > 1, "nothing was committed together: the order within a batch was not tested"
    assert trace.too_early(sent) == []


async def test_without_the_sync_the_same_check_finds_every_answer_too_early(tmp_path: Path) -> None:
    trace, sent = await traced(tmp_path, changed="without-fsync")
    assert len(trace.written) == SENDERS * CALLBACKS_EACH
    assert len(trace.too_early(sent)) > 0.9 * SENDERS * CALLBACKS_EACH


async def traced(folder: Path, *, changed: str | None = None) -> tuple[Trace, dict[int, list[str]]]:
    """The trace of a server under load, and the jobs that each port told of, in order."""
    strace = a_tracer_or_skip()
    output = folder / "trace"
    under = [strace, "-f", "-yy", "-s", "5000", "-e", f"trace={_CALLS}", "-e", "signal=none", "-o", str(output)]
    async with a_server(folder / "data", changed=changed, under=under) as server:
        sent = dict(await asyncio.gather(*(a_sender(server) for _ in range(SENDERS))))
        await server.end()
    return Trace.read(output), sent


async def a_sender(server: Server) -> tuple[int, list[str]]:
    """One connection, one callback after the other, each answered `ok`; its port and the jobs told of."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
    jobs = [new_id("job") for _ in range(CALLBACKS_EACH)]
    for job in jobs:
        body = useapi_body(job, video_id=f"v-{job}")
        token = TOKENS.mint(provider="useapi", job_id=job, now=datetime.now(UTC))
        head = f"POST /callbacks/useapi/{token} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(2)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert answer.endswith(b"\r\n\r\nok"), answer
    port = writer.get_extra_info("sockname")[1]
    writer.close()
    return port, jobs


def a_tracer_or_skip() -> str:
    """strace, where it is there and may trace."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    tried = subprocess.run([strace, "-f", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"strace may not trace here: {tried.stderr.strip()}")
    return strace
