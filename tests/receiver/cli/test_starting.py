"""`replyhook serve` that cannot start: one line that says why and what to do, and an exit code; never a traceback."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from replyhook_receiver.stores.sqlite.connection import schema_steps
from replyhook_receiver.stores.sqlite.serving_lock import holder_of
from tests import program
from tests.program import Program
from tests.stage import CLEAN, KEY, free_port, running, wait_for

NOT_CONFIGURED = 4


def refused(folder: Path, *arguments: str, **settings: str) -> str:
    """What a start that is refused says last; it says nothing of how it was found out."""
    env = CLEAN | {f"REPLYHOOK_{name}": value for name, value in settings.items()}
    ended = program.run("serve", *arguments, env=env, cwd=folder)
    assert ended.returncode == NOT_CONFIGURED, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "geheim" not in ended.stderr
    return next(line for line in ended.stderr.splitlines() if line.startswith("replyhook: "))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Program, int]]:
    """A receiver that runs on its own data, and its port."""
    port = free_port()
    with running("serve", "--port", str(port), env=CLEAN, cwd=tmp_path, output=tmp_path / "log") as receiver:
        wait_for(f"http://127.0.0.1:{port}/readyz", receiver)
        yield receiver, port


def test_an_occupied_port_names_the_process_that_holds_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = refused(tmp_path, "--port", str(taken.getsockname()[1]))
    assert "--port" in words
    if Path("/proc/net/tcp").exists():
        assert f"process {os.getpid()}" in words


def test_a_second_server_on_one_database_is_refused_until_the_first_is_killed(
    tmp_path: Path, served: tuple[Program, int]
) -> None:
    receiver, port = served
    words = refused(tmp_path, "--port", "0")
    assert f"process {receiver.pid}" in words
    assert f"http://127.0.0.1:{port}" in words
    assert "--data-dir" in words
    receiver.send_signal(signal.SIGKILL)
    receiver.wait(timeout=20)
    database = tmp_path / "replyhook-data" / "replyhook.db"
    assert holder_of(database) is None
    again = free_port()
    with running("serve", "--port", str(again), env=CLEAN, cwd=tmp_path, output=tmp_path / "log") as next_one:
        wait_for(f"http://127.0.0.1:{again}/readyz", next_one)
        holder = holder_of(database)
        assert holder is not None
        assert (holder.pid, holder.url) == (next_one.pid, f"http://127.0.0.1:{again}")
        assert holder.token not in repr(holder)
        assert (database.parent / "replyhook.db.lock").stat().st_mode & 0o077 == 0


def test_another_data_folder_is_another_receiver(tmp_path: Path, served: tuple[Program, int]) -> None:
    port = free_port()
    more = ["serve", "--port", str(port), "--data-dir", "other"]
    with running(*more, env=CLEAN, cwd=tmp_path, output=tmp_path / "other.log") as other:
        wait_for(f"http://127.0.0.1:{port}/readyz", other)
    assert served[0].poll() is None


def test_an_endpoint_of_the_settings_that_can_never_be_notified_ends_the_start_in_words(tmp_path: Path) -> None:
    toml = '[[endpoints]]\nname = "theirs"\nurl = "http://hooks.example.com/?token=geheim"\n'
    (tmp_path / "replyhook.toml").write_text(toml)
    words = refused(tmp_path, "--port", "0", "--config", "replyhook.toml")
    assert "endpoint 'theirs'" in words
    assert "https" in words


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("port = 8080\nlog_levle = 'geheim'\n", ["log_levle (replyhook.toml, line 2)", "did you mean log_level?"]),
        ("\n\nvideo_link_seconds = 'geheim'\n", ["video_link_seconds (replyhook.toml, line 3)", "integer"]),
        ("port = 8080\nhost = geheim\n", ["replyhook.toml", "line 2"]),
    ],
)
def test_a_wrong_settings_file_ends_the_start_with_its_line_and_key(
    tmp_path: Path, toml: str, words: list[str]
) -> None:
    (tmp_path / "replyhook.toml").write_text(toml)
    ended = program.run("serve", "--port", "0", "--config", "replyhook.toml", env=CLEAN, cwd=tmp_path)
    assert ended.returncode == NOT_CONFIGURED
    assert [word for word in words if word not in ended.stderr] == []
    assert "Traceback" not in ended.stderr
    assert "geheim" not in ended.stderr
    assert not (tmp_path / "replyhook-data").exists()


@pytest.mark.parametrize(
    ("pragma", "words"),
    [
        ("PRAGMA user_version = 9999", "newer replyhook"),  # from a newer version
        ("PRAGMA user_version = 1", "nothing of it was kept"),  # a later step was half done by hand
    ],
)
def test_a_schema_that_does_not_fit_ends_the_start_and_is_left_alone(tmp_path: Path, pragma: str, words: str) -> None:
    port = free_port()
    with running("serve", "--port", str(port), env=CLEAN, cwd=tmp_path, output=tmp_path / "log") as receiver:
        wait_for(f"http://127.0.0.1:{port}/readyz", receiver)
    database = tmp_path / "replyhook-data" / "replyhook.db"
    with closing(sqlite3.connect(database)) as raw:
        raw.execute(pragma)
        before = raw.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
    assert words in refused(tmp_path, "--port", "0")
    with closing(sqlite3.connect(database)) as raw:
        assert raw.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall() == before
        assert raw.execute("PRAGMA user_version").fetchone()[0] == int(pragma.rpartition(" ")[2])


def test_a_migration_that_was_killed_half_way_is_taken_again_from_its_beginning(tmp_path: Path) -> None:
    folder = tmp_path / "replyhook-data"
    folder.mkdir()
    # What a killed process leaves: statements in the log that were never committed.
    killed = (
        "import os, sqlite3\n"
        "raw = sqlite3.connect('replyhook.db', isolation_level=None)\n"
        "raw.execute('PRAGMA journal_mode = WAL')\n"
        "raw.execute('PRAGMA cache_size = 1')\n"
        "raw.execute('BEGIN IMMEDIATE')\n"
        "raw.execute('CREATE TABLE jobs (half TEXT)')\n"
        "raw.executemany('INSERT INTO jobs VALUES (?)', [('x' * 4000,)] * 200)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", killed], cwd=folder, timeout=60, check=False)
    assert (folder / "replyhook.db-wal").stat().st_size > 100_000
    port = free_port()
    with running("serve", "--port", str(port), env=CLEAN, cwd=tmp_path, output=tmp_path / "log") as receiver:
        wait_for(f"http://127.0.0.1:{port}/readyz", receiver)
    with closing(sqlite3.connect(folder / "replyhook.db")) as raw:
        assert raw.execute("PRAGMA user_version").fetchone()[0] == schema_steps()[-1]


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A file system that takes no writes, whoever writes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "ro", "replyhook-test", str(disk)],  # noqa: S607 - where it is differs
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode != 0:
        pytest.skip(f"a file system may not be mounted here: {done.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)  # noqa: S607


@pytest.mark.parametrize("has_keys", [False, True])
def test_a_disk_that_cannot_be_written_ends_the_start_in_words(read_only: Path, has_keys: bool) -> None:
    keys = {"SIGNING_KEYS": KEY * 2, "API_KEYS": KEY, "NOTIFICATION_SECRETS": "whsec_" + "QUJD" * 8} if has_keys else {}
    words = refused(read_only, "--port", "0", **keys)
    assert "cannot be written (Read-only file system)" in words
    assert "--data-dir" in words


def test_a_public_address_without_keys_is_refused_with_the_two_commands_that_mend_it(tmp_path: Path) -> None:
    env = CLEAN
    ended = program.run("serve", "--host", "0.0.0.0", "--port", "0", env=env, cwd=tmp_path)  # noqa: S104 - it is refused
    assert ended.returncode == NOT_CONFIGURED
    init, serve = (line.split() for line in ended.stderr.splitlines() if line.startswith("  replyhook "))
    init = [word if word != "https://…" else "https://hooks.example.com" for word in init]
    serve = [*serve, "--port", str(free_port())]
    made = program.run(*init[1:], env=env, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    with running(*serve[1:], env=env, cwd=tmp_path, output=tmp_path / "log") as receiver:
        wait_for(f"http://127.0.0.1:{serve[-1]}/readyz", receiver)
