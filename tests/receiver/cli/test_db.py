"""`replyhook db` and `replyhook hold` as programs, beside a receiver that runs."""

import json
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from replyhook.ids import new_id
from tests import program
from tests.stage import KEY, Stage, a_stage

pytest.importorskip("av", reason="the sandbox makes real videos")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stage")


@pytest.fixture(scope="module")
def stage(folder: Path) -> Iterator[Stage]:
    with a_stage(folder) as running:
        yield running


def run(stage: Stage, *arguments: str) -> subprocess.CompletedProcess[str]:
    return program.run(*arguments, env=stage.env)


def in_place(stage: Stage, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(stage, "db", *arguments, "--data-dir", str(data_dir(stage)))


def data_dir(stage: Stage) -> Path:
    (found,) = stage.folder.rglob("replyhook.db")
    return found.parent


def register(stage: Stage, user: str) -> str:
    job = new_id("job")
    content = json.dumps({"provider": "fal", "user": user}).encode()
    request = Request(f"{stage.receiver_url}/v1/jobs/{job}", content, method="PUT")  # noqa: S310 - loopback
    request.add_header("authorization", f"Bearer {KEY}")
    request.add_header("content-type", "application/json")
    with urlopen(request) as answer:  # noqa: S310
        assert answer.status == 200
    return job


def test_a_backup_of_a_running_receiver_is_whole_private_and_never_written_over(stage: Stage, tmp_path: Path) -> None:
    job = register(stage, "u_1")
    target = tmp_path / "copy.db"
    done = in_place(stage, "backup", str(target))
    assert (done.returncode, done.stdout) == (0, f"{target}\n"), done.stderr
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with closing(sqlite3.connect(target)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert copy.execute("SELECT count(*) FROM jobs WHERE id = ?", (job,)).fetchone() == (1,)
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    again = in_place(stage, "backup", str(target))
    assert again.returncode == 4
    assert "is there already" in again.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db"]


def test_a_database_that_is_damaged_gives_no_backup(stage: Stage, tmp_path: Path) -> None:
    whole = tmp_path / "whole.db"
    assert in_place(stage, "backup", str(whole)).returncode == 0
    broken = tmp_path / "replyhook.db"
    content = bytearray(whole.read_bytes())
    content[8192:40_000] = bytes(40_000 - 8192)
    broken.write_bytes(content)
    done = run(stage, "db", "backup", str(tmp_path / "copy.db"), "--data-dir", str(tmp_path))
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "copy.db").exists()


def test_migrations_are_said_and_run_and_older_databases_are_left_alone_by_the_others(
    stage: Stage, tmp_path: Path
) -> None:
    def db(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run(stage, "db", *arguments, "--data-dir", str(tmp_path))

    assert db("prune").returncode == 4
    with closing(sqlite3.connect(tmp_path / "replyhook.db")) as raw:
        raw.execute("PRAGMA journal_mode = WAL")
    pending = db("migrate", "--dry-run")
    assert (pending.returncode, pending.stdout.split()[0]) == (1, "0001_start")
    assert "replyhook db migrate" in db("prune").stderr
    assert db("migrate").stdout == pending.stdout
    assert (db("migrate").stdout, db("migrate", "--dry-run").returncode) == ("", 0)
    assert json.loads(db("prune", "--dry-run", "-o", "json").stdout) == {"dry_run": True, "pruned": {}}


def test_a_user_is_erased_beside_a_running_receiver(stage: Stage) -> None:
    job = register(stage, "u_gone")
    assert in_place(stage, "erase", "--user", "u_gone").returncode == 2
    done = in_place(stage, "erase", "--user", "u_gone", "--yes", "-o", "json")
    assert json.loads(done.stdout) == {"jobs": 1, "videos": 0}, done.stderr
    assert run(stage, "jobs", "get", job).returncode == 5
    assert in_place(stage, "erase", "--user", "u_gone", "--yes").returncode == 5


def test_the_work_is_held_and_goes_on(stage: Stage) -> None:
    def ready() -> dict[str, object]:
        with urlopen(f"{stage.receiver_url}/readyz") as answer:  # noqa: S310 - loopback
            found: dict[str, object] = json.load(answer)
            return found

    assert program.run_anew("hold", "status", env=stage.env).stdout == "going on\n"
    held = run(stage, "hold", "on", "--reason", "moving \x1b[2Jhouse")
    assert held.stdout.startswith("on hold since 20")
    assert "\x1b" not in held.stdout
    assert (ready()["ok"], ready()["work"]) == (True, "on hold")
    assert json.loads(run(stage, "hold", "status", "-o", "json").stdout)["held"] is True
    assert run(stage, "hold", "off").stdout == "going on\n"
    assert ready()["work"] == "going on"
