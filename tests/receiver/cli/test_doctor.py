"""`replyhook doctor` as a program, beside receivers that are well, down, misled and ill."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from replyhook_receiver.doctor.answering import clock_finding
from replyhook_receiver.stores.sqlite.connection import schema_steps
from tests import program
from tests.receiver.channels.test_email import mail_server
from tests.stage import CLEAN, KEY, Stage, a_stage, free_port, running, wait_for

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
PROGRAM = [sys.executable, "-m", "replyhook_receiver"]


def run(env: dict[str, str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return program.run(*arguments, env=env, cwd=folder)


def examined(env: dict[str, str], folder: Path, *arguments: str, code: int) -> dict[str, dict[str, Any]]:
    """What it finds, by what was looked at."""
    ended = run(env, folder, "doctor", "-o", "json", *arguments)
    assert ended.returncode == code, ended.stdout + ended.stderr
    told = json.loads(ended.stdout)
    assert told["ok"] is (code == 0)
    return {each["check"]: each for each in told["checks"]}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with a_stage(tmp_path_factory.mktemp("stage"), providers__fal__user_ids="another-user") as stage:
        yield stage


def test_a_receiver_that_is_well_passes_every_check_and_no_secret_is_shown(stage: Stage) -> None:
    env = stage.env | stage.settings
    found = examined(env, stage.folder, code=0)
    assert {name for name, each in found.items() if each["outcome"] == "fail"} == set()
    for name in ("database", "schema", "one receiver", "disk", "storage", "receiver", "worker", "fal public keys"):
        assert found[name]["outcome"] == "ok", found[name]
    assert found["public URL"]["found"] == f"{stage.receiver_url} leads to this very receiver"
    assert "same clock" in found["clock (public URL)"]["found"]
    assert "WAL and FULL" in found["database"]["found"]
    table = run(env, stage.folder, "doctor")
    shown = json.dumps(found) + table.stdout + table.stderr
    made = json.loads((stage.folder / "replyhook-data" / "secrets.json").read_text())
    keys = [value for name, value in env.items() if name.endswith(("_KEY", "_TOKEN")) and len(value) > 6]
    told = json.loads((stage.folder / "replyhook-data" / "replyhook.db.lock").read_text())
    assert [secret for secret in (*made.values(), *keys, KEY, told["token"], "another-user") if secret in shown] == []


def test_work_that_was_paused_and_forgotten_is_told_with_what_ends_it(stage: Stage) -> None:
    env = stage.env | stage.settings
    assert run(env, stage.folder, "hold", "on", "--reason", "moving\x1b[2J the bucket").returncode == 0
    try:
        found = examined(env, stage.folder, code=0)["hold"]
        table = run(env, stage.folder, "doctor").stdout
    finally:
        assert run(env, stage.folder, "hold", "off").returncode == 0
    assert found["outcome"] == "warn"
    assert "on hold since 20" in found["found"]
    assert "the bucket" in found["found"]
    assert "`replyhook hold off`" in found["todo"]
    assert "\x1b" not in table
    assert examined(env, stage.folder, code=0)["hold"]["outcome"] == "ok"


def test_a_refused_fal_user_is_told_with_the_setting_that_lets_it_in(stage: Stage) -> None:
    env = stage.env | stage.settings
    assert run(env, stage.folder, "trigger", "fal.succeeded").returncode != 0
    found = examined(env, stage.folder, code=1)["fal user mismatch"]
    assert found["outcome"] == "fail"
    assert "REPLYHOOK_PROVIDERS__FAL__USER_IDS=another-user;" in found["todo"]
    assert "<" not in found["todo"]
    assert "nothing is kept" in found["todo"]


@contextmanager
def answering(status: int, body: bytes = b"{}", **headers: str) -> Iterator[str]:
    """Somebody else, who answers everything so."""

    class Somebody(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Somebody) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b'{"ok": true, "proof": "0123"}', "another receiver"),
        (301, b"", "redirects"),
        (502, b"", "proxy"),
        (404, b"<html>", "not this receiver"),
    ],
)
def test_a_public_url_that_leads_elsewhere_is_found_out(stage: Stage, status: int, body: bytes, words: str) -> None:
    with answering(status, body, location="/elsewhere") as url:
        found = examined(stage.env | stage.settings, stage.folder, "--public-url", url, code=1)
    assert words in found["public URL"]["found"]
    assert found["public URL"]["todo"]


def test_a_public_url_that_nobody_answers_is_found_out(stage: Stage) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    found = examined(stage.env | stage.settings, stage.folder, "--public-url", url, code=1)
    assert "cannot be reached" in found["public URL"]["found"]


def test_it_runs_before_the_first_start_and_while_the_receiver_is_down(tmp_path: Path) -> None:
    port = str(free_port())
    found = examined(CLEAN, tmp_path, "--port", port, code=0)
    assert found["receiver"]["outcome"] == found["public URL"]["outcome"] == "warn"
    assert list(tmp_path.iterdir()) == []  # looking makes nothing
    with running("serve", "--port", port, env=CLEAN, cwd=tmp_path, output=tmp_path / "log") as receiver:
        wait_for(f"http://127.0.0.1:{port}/readyz", receiver)
        assert examined(CLEAN, tmp_path, "--port", port, code=0)["worker"]["outcome"] == "ok"
        receiver.send_signal(signal.SIGKILL)
        receiver.wait(timeout=20)
    found = examined(CLEAN, tmp_path, "--port", port, code=0)
    assert found["receiver"]["outcome"] == "warn"
    assert "nobody serves" in found["one receiver"]["found"]
    assert run(CLEAN, tmp_path, "doctor", "--port", port, "--strict").returncode == 1


def test_a_process_that_hangs_with_the_database_is_told_from_none(tmp_path: Path) -> None:
    port = str(free_port())
    with running("serve", "--port", port, env=CLEAN, cwd=tmp_path, output=tmp_path / "log") as receiver:
        wait_for(f"http://127.0.0.1:{port}/readyz", receiver)
        with answering(200, b"[]") as other:  # the port that the settings name is another program's
            found = examined(CLEAN, tmp_path, "--port", port, "--data-dir", "elsewhere", "--public-url", other, code=0)
        assert "not on this database" in found["receiver"]["found"]
        lock = tmp_path / "replyhook-data" / "replyhook.db.lock"
        told = json.loads(lock.read_text())
        lock.write_text(json.dumps(told | {"url": f"http://127.0.0.1:{free_port()}"}))
        found = examined(CLEAN, tmp_path, "--port", port, code=1)
        assert f"process {receiver.pid}" in found["receiver"]["found"]
        assert "nothing answers" in found["receiver"]["found"]
        with answering(200, b'{"ok": true, "store": true, "worker": true, "proof": "0"}') as other:  # it gets no key
            lock.write_text(json.dumps(told | {"url": other}))
            found = examined(CLEAN, tmp_path, "--port", port, code=1)
        assert f"is not process {receiver.pid}" in found["receiver"]["found"]
        assert "worker" not in found


def test_pending_migrations_a_second_process_and_a_newer_schema_are_told(tmp_path: Path) -> None:
    port = str(free_port())
    with running("serve", "--port", port, env=CLEAN, cwd=tmp_path, output=tmp_path / "log") as receiver:
        wait_for(f"http://127.0.0.1:{port}/readyz", receiver)
        with closing(sqlite3.connect(tmp_path / "replyhook-data" / "replyhook.db")) as raw:
            raw.execute("SELECT 1 FROM jobs").fetchall()
            found = examined(CLEAN, tmp_path, "--port", port, code=0)
            if Path("/proc/self/fd").exists():
                assert "has it open too" in found["one receiver"]["found"]
    for version, outcome, code in ((schema_steps()[-2], "warn", 0), (9999, "fail", 1)):
        with closing(sqlite3.connect(tmp_path / "replyhook-data" / "replyhook.db")) as raw:
            raw.execute(f"PRAGMA user_version = {version}")
        assert examined(CLEAN, tmp_path, "--port", port, code=code)["schema"]["outcome"] == outcome


def test_a_public_receiver_that_is_looked_for_in_the_wrong_place_is_not_green(tmp_path: Path) -> None:
    public = ("--port", str(free_port()), "--public-url", "https://receiver.invalid")
    found = examined(CLEAN, tmp_path, *public, code=0)["database"]
    assert found["outcome"] == "warn"
    assert "data_dir" in found["todo"]
    with_keys = CLEAN | {"REPLYHOOK_SIGNING_KEYS": "k" * 40}
    assert examined(with_keys, tmp_path, *public, code=0)["database"]["outcome"] == "ok"


def test_a_database_that_others_may_read_is_told_with_its_log(tmp_path: Path) -> None:
    folder = tmp_path / "replyhook-data"
    assert run(CLEAN, tmp_path, "db", "migrate").returncode == 0
    assert "database file" not in examined(CLEAN, tmp_path, "--port", str(free_port()), code=0)
    (folder / "replyhook.db").chmod(0o644)
    assert "database file" not in examined(CLEAN, tmp_path, "--port", str(free_port()), code=0)  # the folder is closed
    folder.chmod(0o755)
    found = examined(CLEAN, tmp_path, "--port", str(free_port()), code=0)["database file"]
    assert found["outcome"] == "warn"
    assert found["todo"].startswith("chmod 600 ")
    assert "replyhook.db" in found["todo"]


def test_what_is_wrong_with_keys_storage_disk_mail_and_variables_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = {
        "HOST": "0.0.0.0",  # noqa: S104 - nobody listens
        "STORAGE_URL": f"file://{tmp_path}/file/videos",
        "MIN_FREE_DISK_BYTES": str(2**60),
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(free_port()),
        "SMTP_SECURITY": "none",
        "SMTP_FROM": "hooks@example.com",
        "PROVIDERS__PIXVERSE__API_KEY": "geheim",
        "PROVIDERS__FAL__JWKS_URL": "http://127.0.0.1:1/jwks",
        "PROT": "1",
    }
    env = CLEAN | {f"REPLYHOOK_{name}": value for name, value in settings.items()}
    found = examined(env, tmp_path, code=1)
    wrong = {name for name, each in found.items() if each["outcome"] == "fail"}
    assert wrong >= {"signing_keys", "api_keys", "notification_secrets", "provider pixverse", "public URL"}
    assert wrong >= {"storage", "disk for videos", "mail server", "fal public keys"}
    assert all(found[name]["todo"] for name in wrong)
    assert "REPLYHOOK_PROT" in found["settings"]["found"]
    assert "allowed_networks" in found["fal public keys"]["todo"]
    assert "geheim" not in json.dumps(found)


@pytest.mark.parametrize(("password", "outcome"), [("geheim-password", "ok"), ("geheim-other", "fail")])
def test_the_mail_server_is_greeted_and_logged_in_to_and_gets_no_mail(
    tmp_path: Path, password: str, outcome: str
) -> None:
    box = tmp_path / "box"
    box.mkdir()
    with mail_server(box, "--login") as (port, _):
        settings = {"HOST": "127.0.0.1", "PORT": str(port), "SECURITY": "none", "FROM": "hooks@example.com"}
        env = CLEAN | {f"REPLYHOOK_SMTP_{name}": value for name, value in settings.items()}
        env |= {"REPLYHOOK_SMTP_USER": "jane", "REPLYHOOK_SMTP_PASSWORD": password}
        found = examined(env, tmp_path, "--port", str(free_port()), code=int(outcome == "fail"))
    assert found["mail server"]["outcome"] == outcome
    assert "log-in" in found["mail server"]["found"] or "smtp_password" in found["mail server"]["found"]
    assert "geheim" not in json.dumps(found)
    assert list(box.iterdir()) == []


def test_settings_that_cannot_be_right_are_a_failure_like_others(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text('port = "geheim"\nprot = 1\n')
    found = examined(CLEAN, tmp_path, "--config", "my.toml", code=1)
    assert "my.toml, line 1" in found["settings"]["found"]
    assert "my.toml, line 2" in found["settings"]["found"]
    assert "geheim" not in json.dumps(found)


@pytest.mark.parametrize(("ahead", "outcome"), [(2, "ok"), (60, "warn"), (400, "fail"), (-400, "fail")])
def test_a_clock_that_is_off_is_told_by_how_much_and_which_way(ahead: int, outcome: str) -> None:
    date = format_datetime(datetime.now(UTC) - timedelta(seconds=ahead), usegmt=True)
    found = clock_finding("clock", "rest.fal.ai", date)
    assert found is not None
    assert found.outcome == outcome
    assert ("behind" if ahead < 0 else "ahead of") in found.found or outcome == "ok"


def test_the_readmes_commands_set_a_receiver_up(tmp_path: Path) -> None:
    told = re.search(r"<!-- doctor -->\n```sh\n(.*?)```", README, flags=re.DOTALL)
    assert told
    lines = [line.partition("  #")[0].split() for line in told[1].splitlines() if line.startswith("replyhook ")]
    assert [line[1:3] for line in lines[:2]] == [["config", "init"], ["config", "check"]]
    for line in lines:
        if line[1] not in ("serve", "verify"):
            ended = subprocess.run(
                [*PROGRAM, *line[1:]], env=CLEAN | {"FAL_KEY": "fk"}, cwd=tmp_path, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            # Whether fal's keys can be reached from here is no matter of ours.
            looks = line[1] in ("doctor", "providers")
            allowed = {0, 1} if looks else {0}
            assert ended.returncode in allowed, ended.stdout + ended.stderr
            if looks:
                assert re.findall(r"^fail  (.*?):", ended.stdout, flags=re.MULTILINE) in ([], ["fal public keys"])
