"""A dump of PostgreSQL is worth its restore: made under load as the page says, restored, and started from."""

import asyncio
import copy
import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from psycopg import sql

from tests.deploy.test_readme import block, shell
from tests.deploy.tools import DEPLOY
from tests.faults.cluster import a_cluster
from tests.faults.evidence import Evidence
from tests.faults.harness import ENVIRONMENT
from tests.faults.providers import Ledger, Providers
from tests.receiver.postgres_server import PASSWORD, PostgreSQLServer
from tests.receiver.support import until

SCRIPT = DEPLOY / "dump.sh"
OLD_SECONDS = 20 * 86_400
URL = "postgresql://re%40me:p%40s%3As%2Fw%C3%A9rd@db.example:5/replyhook?sslmode=require"
NOTES_HOW_IT_WAS_CALLED = """#!/bin/sh
echo "$PGPASSWORD" "$@" >> "$DUMP_DIR/calls"
for word in "$@"; do case $word in --file=*) : > "${word#--file=}" ;; esac; done
"""


async def test_what_was_answered_before_a_dump_under_load_began_is_there_after_the_restore_and_work_goes_on(
    tmp_path: Path, postgres_url: str, postgres_server: PostgreSQLServer, providers: Providers
) -> None:
    data, ledger = tmp_path / "data", providers.ledger
    env = environment(tmp_path, postgres_url, postgres_server)
    async with (
        a_cluster(data, postgres_url, receivers=1, workers=1, **providers.settings) as cluster,
        cluster.client() as client,
        providers.sending(client),
    ):
        await until(lambda: ledger.acknowledged.total() > 300, seconds=60)
        before: Ledger = copy.deepcopy(ledger)
        await asyncio.to_thread(shell, block("dump"), tmp_path, env)
        await until(lambda: ledger.acknowledged.total() > before.acknowledged.total() + 100, seconds=60)
    try:
        await asyncio.to_thread(shell, block("undump"), tmp_path, env)
        restored = postgres_server.url("restored")
        Evidence.in_postgres(restored, data).assert_keeps(before)
        serve, doctor = (line.partition("#")[0].strip() for line in block("restored").splitlines())
        async with a_cluster(data, restored, receivers=1, workers=0, **providers.settings) as cluster:
            (receiver,) = cluster.receivers
            assert serve == " ".join(["replyhook", *receiver.arguments[:2]])
            port = {"REPLYHOOK_PORT": receiver.arguments[-1]}
            await asyncio.to_thread(shell, doctor, tmp_path, receiver.environment | port)
            await cluster.worker()
            await cluster.rest(seconds=60)
            await cluster.end()
        evidence = Evidence.in_postgres(restored, data)
        evidence.assert_keeps(before)
        assert {report.job for report in before.acknowledged if report.link} <= set(evidence.videos)
        assert set(evidence.videos.values()) == {hashlib.sha256(providers.clip).hexdigest()}
    finally:
        postgres_server.execute(sql.SQL("DROP DATABASE IF EXISTS restored WITH (FORCE)"))


def environment(folder: Path, url: str, server: PostgreSQLServer) -> dict[str, str]:
    """A checkout in ``folder`` with the database's secret, and an operator who may make databases."""
    shutil.copytree(DEPLOY, folder / "deploy", ignore=shutil.ignore_patterns("secrets"))
    (folder / "deploy/secrets").mkdir()
    (folder / "deploy/secrets/database_url").write_text(url)
    place = urlsplit(url)
    operator = {"PGHOST": str(place.hostname), "PGPORT": str(place.port), "PGUSER": "postgres", "PGPASSWORD": PASSWORD}
    return ENVIRONMENT | operator | {"PATH": f"{server.programs}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture
def noting(tmp_path: Path) -> dict[str, str]:
    """The environment of the script, with programs that only note how they are called."""
    programs, dumps = tmp_path / "programs", tmp_path / "dumps"
    programs.mkdir()
    dumps.mkdir()
    (tmp_path / "url").write_text(URL + "\n")
    (programs / "pg_dump").write_text(NOTES_HOW_IT_WAS_CALLED)
    (programs / "pg_restore").write_text("#!/bin/sh\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "DUMP_DIR": str(dumps), "DATABASE_URL_FILE": str(tmp_path / "url")}


def test_the_password_is_not_among_the_arguments_which_others_see(noting: dict[str, str]) -> None:
    run(noting)
    (call,) = Path(noting["DUMP_DIR"], "calls").read_text(encoding="utf-8").splitlines()
    assert call.startswith("p@s:s/wérd --no-password --format=custom --file=")
    assert call.endswith("--dbname=postgresql://re%40me@db.example:5/replyhook?sslmode=require")


def test_old_dumps_go_only_when_there_is_a_new_one_and_others_files_stay(noting: dict[str, str]) -> None:
    dumps, program = Path(noting["DUMP_DIR"]), Path(noting["PATH"].partition(os.pathsep)[0], "pg_restore")
    old, recent, other = (dumps / name for name in ("replyhook-1.dump", "replyhook-2.dump", "mine.dump"))
    for path, age in ((old, OLD_SECONDS), (recent, 13 * 86_400), (other, OLD_SECONDS)):
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    program.write_text("#!/bin/sh\nexit 1\n")
    assert run(noting, check=False) != 0
    assert set(dumps.glob("*.dump")) == {old, recent, other}, "a dump that cannot be read was kept, or made room for"
    program.write_text("#!/bin/sh\n")
    assert run(noting) == 0
    assert set(dumps.glob("*.dump")) > {recent, other}
    assert not old.exists()
    assert not list(dumps.glob("*.part"))
    assert {path.stat().st_mode & 0o077 for path in dumps.glob("replyhook-2*-*.dump")} == {0}


@pytest.mark.parametrize("has_one", [False, True])
def test_each_night_there_is_one_and_the_first_at_once_if_there_is_none_of_today(
    noting: dict[str, str], has_one: bool
) -> None:
    folder = Path(noting["DUMP_DIR"])
    sleep = Path(noting["PATH"].partition(os.pathsep)[0], "sleep")
    sleep.write_text('#!/bin/sh\necho "$1" > "$DUMP_DIR/sleeps"\nexit 9\n')
    sleep.chmod(0o755)
    if has_one:
        (folder / "replyhook-0.dump").touch()
    done = subprocess.run(["sh", str(SCRIPT), "nightly"], env=noting, timeout=30, check=False)  # noqa: S607 - the one on the path
    assert done.returncode == 9
    assert len(list(folder.glob("*.dump"))) == 1
    assert (folder / "calls").exists() is not has_one
    wakes = (time.time() + int((folder / "sleeps").read_text())) % 86_400
    assert abs(wakes - 3 * 3_600) < 30


def run(env: dict[str, str], *, check: bool = True) -> int:
    return subprocess.run(["sh", str(SCRIPT)], env=env, check=check, capture_output=True, timeout=30).returncode  # noqa: S607 - the one on the path
