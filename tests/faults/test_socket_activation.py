"""A restart while a service manager holds the listening socket: no connection is refused, no answered callback lost."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from replyhook.ids import new_id
from replyhook_receiver.serving import free_socket
from tests.faults.evidence import Evidence
from tests.faults.harness import ENVIRONMENT, Server
from tests.faults.providers import Providers, Report
from tests.receiver.support import until

PROVIDERS_AT_ONCE = 12
ACTIVATE = 'exec 3<&"$0"; export LISTEN_PID=$$; exec "$@"'
"""What systemd does: the socket is file descriptor 3, the variable names the process."""


async def test_a_restart_under_load_refuses_no_connection_and_loses_no_answered_callback(
    tmp_path: Path, providers: Providers
) -> None:
    with listening() as held:
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        senders = [asyncio.create_task(keep_calling(url, providers)) for _ in range(PROVIDERS_AT_ONCE)]
        for _ in range(3):
            async with activated(held, tmp_path, **providers.settings) as server:
                before = providers.ledger.acknowledged.total()
                await until(lambda before=before: providers.ledger.acknowledged.total() > before + 150, seconds=60)
                code, _ = await server.end()
            assert code == 0, "".join(server.log)
        async with activated(held, tmp_path, **providers.settings):
            providers.stopping = True
            await asyncio.gather(*senders)
    assert providers.ledger.unanswered == []
    assert providers.ledger.turned_away.total() == 0
    assert providers.ledger.acknowledged.total() > 450
    Evidence.read(tmp_path).assert_keeps(providers.ledger)


async def test_the_service_manager_hears_when_callers_are_answered_and_when_the_end_begins(tmp_path: Path) -> None:
    with listening() as held, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        async with activated(held, tmp_path / "data", NOTIFY_SOCKET=str(tmp_path / "notify")) as server:
            assert await heard(manager) == b"READY=1"
            assert await server.is_ready()
            await server.end()
            assert await heard(manager) == b"STOPPING=1"


async def heard(manager: socket.socket) -> bytes:
    async with asyncio.timeout(30):
        return await asyncio.get_running_loop().sock_recv(manager, 100)


async def keep_calling(url: str, providers: Providers) -> None:
    """Job after job, each on a connection of its own, as long as the test lasts."""
    each_its_own = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60, limits=each_its_own) as client:
        while not providers.stopping:
            await providers.send(client, Report(job=new_id("job"), provider="useapi", status="running", progress=20))


@contextlib.contextmanager
def listening(address: str = "127.0.0.1") -> Iterator[socket.socket]:
    with free_socket(address) as held:
        held.listen(1024)
        yield held


@asynccontextmanager
async def activated(held: socket.socket, data_dir: Path, **settings: str) -> AsyncIterator[Server]:
    """`replyhook serve` as a service manager starts it that holds the socket."""
    ours = {"NOTIFY_SOCKET"} & set(settings)
    environment = ENVIRONMENT | {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "replyhook.socket"}
    environment |= {name if name in ours else f"REPLYHOOK_{name}": value for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", ACTIVATE, str(held.fileno()), sys.executable, "-m", "replyhook_receiver",
        "serve", "--data-dir", str(data_dir),
        env=environment, pass_fds=(held.fileno(),), stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    server = Server(process=process, pid=process.pid, url=f"http://127.0.0.1:{held.getsockname()[1]}")
    reading = asyncio.create_task(server.read_log())
    try:
        yield server
    finally:
        if process.returncode is None:
            await server.kill()
        await reading
