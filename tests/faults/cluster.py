"""Receivers and workers on one PostgreSQL, each a process of its own: begun, killed, begun again at its own place."""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest

from replyhook_receiver.serving import free_socket
from tests.faults.harness import ENVIRONMENT, Server
from tests.faults.other_host import OtherHost
from tests.receiver.support import WHSEC, until

_LAUNCHER = Path(__file__).with_name("launcher.py")
_START_SECONDS = 90
_SESSIONS = """
    SELECT pid, application_name, state, wait_event_type, wait_event, clock_timestamp() - xact_start, left(query, 200)
    FROM pg_stat_activity WHERE datname = current_database()
"""
_OPEN = "SELECT count(*) FROM tasks WHERE state NOT IN ('done', 'dead')"


@dataclass
class Member:
    """One process of the cluster: the same program on the same port, however often it is begun again."""

    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    changed: str | None
    url: str
    under: Sequence[str] = ()
    server: Server = field(init=False)
    starts: int = 0
    log: list[str] = field(default_factory=list)
    """What all its processes said."""
    _reading: "asyncio.Task[None] | None" = None

    async def start(self) -> None:
        """Begin, and wait until it is ready."""
        program = [str(_LAUNCHER), self.changed] if self.changed else ["-m", "replyhook_receiver"]
        process = await asyncio.create_subprocess_exec(
            *self.under, sys.executable, *program, *self.arguments,
            env=self.environment, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        self.server = Server(process=process, url=self.url, pid=process.pid, log=self.log)
        self.starts += 1
        self._reading = asyncio.create_task(self.server.read_log())
        async with asyncio.timeout(_START_SECONDS):
            while not await self.server.is_ready():
                assert process.returncode is None, "".join(self.log)
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """`kill -9`, whatever it is doing; nothing where it has ended."""
        if self.is_running:
            await self.server.kill()
        if self._reading is not None:
            await self._reading

    @property
    def is_running(self) -> bool:
        return self.starts > 0 and self.server.process.returncode is None

    def has_said(self, words: str) -> bool:
        return any(words in line for line in self.log)


class RoundRobin(httpx.AsyncBaseTransport):
    """A balancer in front of the receivers: each request to the next of them, and on to another if nobody is there."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = [httpx.URL(url) for url in urls]
        self._turn = itertools.cycle(self._urls)
        # Shorter than a receiver keeps an idle connection: else it may be closed just as something is sent.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=2)
        self._transport = httpx.AsyncHTTPTransport(limits=limits, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        failed: httpx.ConnectError | None = None
        for _ in self._urls:
            place = next(self._turn)
            request.url = request.url.copy_with(host=place.host, port=place.port)
            try:
                return await self._transport.handle_async_request(request)
            except httpx.ConnectError as error:
                failed = error
        assert failed is not None
        raise failed

    async def aclose(self) -> None:
        await self._transport.aclose()


@dataclass
class Cluster:
    """All of them, and the database that they share."""

    database_url: str
    folder: Path
    settings: dict[str, str]
    changed: str | None = None
    members: list[Member] = field(default_factory=list)

    async def receiver(self, **settings: str) -> Member:
        """One more that only receives."""
        return await self._begin("serve", "--no-worker", "--port", **settings)

    async def worker(self, *, at: OtherHost | None = None, **settings: str) -> Member:
        """One more that only works; perhaps on another host."""
        at = at or OtherHost()
        return await self._begin("worker", "--health-host", at.address, "--health-port", at=at, **settings)

    async def _begin(self, *arguments: str, at: OtherHost | None = None, **settings: str) -> Member:
        with free_socket() as free:
            port = free.getsockname()[1]
        changed = {
            "DATABASE_URL": self.database_url,
            "DATA_DIR": str(self.folder),
            "NOTIFICATION_SECRETS": WHSEC,
            **self.settings,
            **settings,
        }
        member = Member(
            name=f"{arguments[0]} {len(self.members) + 1}",
            arguments=(*arguments, str(port)),
            environment=ENVIRONMENT | {f"REPLYHOOK_{name}": value for name, value in changed.items()},
            changed=self.changed,
            url=f"http://{at.address if at else '127.0.0.1'}:{port}",
            under=at.under if at else (),
        )
        self.members.append(member)
        await member.start()
        return member

    @property
    def receivers(self) -> list[Member]:
        return [member for member in self.members if member.arguments[0] == "serve"]

    @property
    def workers(self) -> list[Member]:
        return [member for member in self.members if member.arguments[0] == "worker"]

    def client(self) -> httpx.AsyncClient:
        """A client of all receivers in turn."""
        urls = [member.url for member in self.receivers]
        return httpx.AsyncClient(base_url=urls[0], transport=RoundRobin(urls), timeout=30)

    def value(self, statement: str) -> object:
        """The one value that a question to the database comes to."""
        with psycopg.connect(self.database_url, autocommit=True) as raw:
            row = raw.execute(statement.encode()).fetchone()
        assert row is not None
        return row[0]

    async def all_ready(self, *, seconds: float) -> None:
        """Wait until all say that they are. If they never do: says how each stands."""
        try:
            await until(self._are_ready, seconds=seconds)
        except TimeoutError:
            pytest.fail("\n".join([line async for line in self._how_it_stands()]))

    async def _are_ready(self) -> bool:
        return all(await asyncio.gather(*(member.server.is_ready() for member in self.members)))

    async def _how_it_stands(self) -> AsyncIterator[str]:
        for member in self.members:
            try:
                told = str(await member.server.readiness())
            except httpx.TransportError as error:
                told = repr(error)
            yield f"{member.name}: {told}"
            yield "".join(member.log[-20:])
        with psycopg.connect(self.database_url, autocommit=True) as raw:
            for row in raw.execute(_SESSIONS):
                yield str(row)

    async def rest(self, *, seconds: float) -> None:
        """Wait until there is nothing left to do."""
        await until(lambda: asyncio.to_thread(self._is_at_rest), seconds=seconds)

    def _is_at_rest(self) -> bool:
        return self.value(_OPEN) == 0

    async def end(self) -> None:
        """SIGTERM to all; each must end in order."""
        ends = [member.server.end() for member in self.members if member.is_running]
        assert {code for code, _ in await asyncio.gather(*ends)} <= {0}


@asynccontextmanager
async def a_cluster(
    folder: Path,
    database_url: str,
    *,
    receivers: int = 2,
    workers: int = 2,
    changed: str | None = None,
    **settings: str,
) -> AsyncIterator[Cluster]:
    """So many on one database and, as on one machine, one folder; whoever runs at the end is killed."""
    cluster = Cluster(database_url=database_url, folder=folder, settings=settings, changed=changed)
    try:
        await asyncio.gather(
            *(cluster.receiver() for _ in range(receivers)), *(cluster.worker() for _ in range(workers))
        )
        yield cluster
    finally:
        await asyncio.gather(*(member.kill() for member in cluster.members))
