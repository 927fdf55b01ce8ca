"""`--database FILE`: the commands that look, over the receiver's file: beside it, after it, and on a copy."""

import json
import os
import re
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests import program
from tests.stage import CLEAN, Stage, a_stage
from tests.test_quick_start import a_listener

LOOKS = [
    ("jobs", "list", "--provider", "useapi"),
    ("jobs", "get", "{job}"),
    ("callbacks", "list", "--job", "{job}"),
    ("callbacks", "get", "{callback}"),
    ("events", "list", "--verdict", "applied"),
    ("deliveries", "list", "--status", "delivered"),
    ("deliveries", "get", "{delivery}"),
    ("endpoints", "list"),
    ("keys", "list"),
    ("explain", "order-7"),
]
CHANGES = [
    ("jobs", "cancel", "job_1"),
    ("jobs", "bind", "job_1", "theirs"),
    ("jobs", "wait", "job_1"),
    ("jobs", "retry", "job_1"),
    ("jobs", "reconcile", "job_1"),
    ("callbacks", "replay", "cb_1", "--apply"),
    ("callbacks", "bind", "cb_1", "job_1"),
    ("deliveries", "retry", "--status", "dead"),
    ("endpoints", "add", "https://x.example/"),
    ("endpoints", "remove", "ep_1"),
]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    pytest.importorskip("av", reason="the sandbox makes real videos")
    with a_stage(tmp_path_factory.mktemp("stage"), speed=60) as running, a_listener() as (place, _):
        run(running.env, "endpoints", "add", place)
        run(running.env, "keys", "create", "--name", "shop")
        command = ["submit", running.source, "on", "--provider", "useapi", "--quality", "360p", "--ref", "order-7"]
        run(running.env, *command, "--notify", f"{place}/theirs", "--wait")
        deadline = time.monotonic() + 30
        while run(running.env, "deliveries", "list", "--status", "pending", "-o", "id").stdout:
            assert time.monotonic() < deadline, "not everybody was told"
        yield running


def run(env: dict[str, str], *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = program.run(*arguments, env=env)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def file_of(stage: Stage) -> Path:
    return stage.folder / "replyhook-data" / "replyhook.db"


def ids(stage: Stage) -> dict[str, str]:
    with closing(sqlite3.connect(f"{file_of(stage).as_uri()}?mode=ro", uri=True)) as raw:
        return {
            name: raw.execute(f"SELECT id FROM {table} ORDER BY id DESC").fetchone()[0]  # noqa: S608 - ours
            for name, table in {"job": "jobs", "callback": "callbacks", "delivery": "deliveries"}.items()
        }


@pytest.mark.parametrize("look", LOOKS, ids=" ".join)
@pytest.mark.parametrize("output", ["json", "table"])
def test_the_file_tells_what_the_receiver_that_serves_it_tells(
    stage: Stage, look: tuple[str, ...], output: str
) -> None:
    command = [word.format(**ids(stage)) for word in look]
    asked = run(stage.env, *command, "-o", output)
    read = run(CLEAN, *command, "-o", output, "--database", str(file_of(stage)))
    assert len(asked.stdout) > 40
    assert without_what_passes(read.stdout, stage) == without_what_passes(asked.stdout, stage)


def without_what_passes(text: str, stage: Stage) -> str:
    """The file does not know the receiver's address; links to videos and ages are those of the moment."""
    text = re.sub(r"(/videos/job_\w+)\.[\w.-]+", r"\1", text.replace(stage.receiver_url, "http://127.0.0.1:8080"))
    return re.sub(r'("age_seconds": [\d.]+|"now": "[^"]+")', "", text)


@pytest.mark.parametrize("change", CHANGES, ids=" ".join)
def test_what_changes_something_refuses_the_file_and_says_what_to_do(change: tuple[str, ...], tmp_path: Path) -> None:
    refused = run(CLEAN, *change, "--database", str(tmp_path / "replyhook.db"), code=2)
    assert "only read" in refused.stderr
    assert "REPLYHOOK_RECEIVER_URL" in refused.stderr


def test_a_backup_is_read_without_its_receivers_keys_and_stays_as_it_is(stage: Stage, tmp_path: Path) -> None:
    copy = tmp_path / "copy with space %41.db"
    run(stage.env, "db", "backup", str(copy), "--data-dir", str(file_of(stage).parent))
    before = copy.read_bytes()
    copy.chmod(0o400)
    (job,) = json.loads(run(CLEAN, "jobs", "list", "-o", "json", "--database", str(copy)).stdout)["data"]
    assert job["video"]["status"] == "stored"
    assert job["video"]["url"] == f"http://127.0.0.1:8080/v1/jobs/{job['id']}/video"  # no link that nobody signed
    assert copy.read_bytes() == before
    assert os.listdir(tmp_path) == [copy.name]


def test_a_file_that_cannot_be_read_is_told_in_words(stage: Stage, tmp_path: Path) -> None:
    other, newer = tmp_path / "other.db", tmp_path / "newer.db"
    other.write_bytes(b"no database at all" * 100)
    with closing(sqlite3.connect(newer)) as raw:
        raw.execute("PRAGMA user_version = 9999")
    with closing(sqlite3.connect(tmp_path / "empty.db")) as raw:
        raw.execute("CREATE TABLE mine (x)")
    for name, words in (
        ("missing.db", "there is no database"),
        ("other.db", "is it one of replyhook's"),
        ("newer.db", "upgrade"),
        ("empty.db", "replyhook db migrate"),
    ):
        assert words in run(CLEAN, "jobs", "list", "--database", str(tmp_path / name), code=4).stderr
    missing = run(CLEAN, "jobs", "get", "job_1", "--database", str(file_of(stage)), code=5)
    assert f"nothing is called job_1 in {file_of(stage)}: neither job" in missing.stderr


def test_postgres_is_no_file_and_that_is_said() -> None:
    for command in (("jobs", "list"), ("keys", "create")):
        refused = run(CLEAN, *command, "--database", "postgresql://u:geheim@h/d", code=2)
        assert "it is for SQLite files" in refused.stderr
        assert "geheim" not in refused.stderr


def test_a_look_at_a_stopped_receivers_file_is_in_no_ones_way(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="the sandbox makes real videos")
    with a_stage(tmp_path) as stage:
        run(stage.env, "keys", "create", "--name", "shop")
        stage.kill_receiver()  # its log is not in the file yet
        kept = {path.name: path.read_bytes() for path in file_of(stage).parent.glob("replyhook.db*")}
        assert kept["replyhook.db-wal"]
        made = run(CLEAN, "keys", "list", "-o", "json", "--database", str(file_of(stage))).stdout
        assert [key["name"] for key in json.loads(made)["data"]] == ["shop"]
        for name in ("replyhook.db", "replyhook.db-wal"):
            assert file_of(stage).with_name(name).read_bytes() == kept[name]
        stage.start_receiver()
        assert "shop" in run(stage.env, "keys", "list").stdout
