"""The commands on PostgreSQL, and two receivers in processes of their own, one of which is killed."""

import json
import subprocess
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from replyhook.ids import new_id
from replyhook.tokens import TokenKeys
from tests import program
from tests.receiver.postgres_server import PASSWORD
from tests.stage import CLEAN, KEY, free_port, running, wait_for

SIGNING_KEY = "a-signing-key-that-all-receivers-share"
SECRET = "whsec_" + "QUJD" * 12


@pytest.fixture
def env(postgres_url: str) -> dict[str, str]:
    return CLEAN | {
        "REPLYHOOK_DATABASE_URL": postgres_url,
        "REPLYHOOK_SIGNING_KEYS": SIGNING_KEY,
        "REPLYHOOK_API_KEYS": KEY,
        "REPLYHOOK_NOTIFICATION_SECRETS": SECRET,
    }


def run(env: dict[str, str], cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    result = program.run(*arguments, env=env, cwd=cwd)
    assert PASSWORD not in result.stdout + result.stderr
    return result


def test_the_commands_know_postgres_and_never_show_its_password(env: dict[str, str], tmp_path: Path) -> None:
    assert run(env, tmp_path, "db", "migrate", "--dry-run").stderr.strip() == "nothing is pending"
    refused = run(env, tmp_path, "db", "backup", "x.db")
    assert refused.returncode != 0
    assert "pg_dump" in refused.stderr
    assert json.loads(run(env, tmp_path, "db", "prune", "-o", "json").stdout)["pruned"] == {}
    assert run(env, tmp_path, "db", "erase", "--user", "nobody", "--yes").returncode == 5
    assert "postgresql://127.0.0.1" in run(env, tmp_path, "config", "show").stdout
    not_coded = env | {"REPLYHOOK_DATABASE_URL": f"postgresql://app:12/{PASSWORD}@127.0.0.1:1/x"}
    assert "********" in run(not_coded, tmp_path, "config", "show").stdout
    words = run(env, tmp_path, "doctor").stdout
    assert "synchronous_commit and fsync are in force" in words
    assert "the newest" in words
    assert "work is done as it is due" in words
    assert "WAL" not in words


def test_a_folder_of_videos_that_all_have_to_share_is_warned_of(env: dict[str, str], tmp_path: Path) -> None:
    (found,) = (line for line in run(env, tmp_path, "doctor").stdout.splitlines() if "shared storage" in line)
    assert "warn" in found
    for command in ("serve", "worker"):
        wrong = env | {"REPLYHOOK_SIGNING_KEYS": ""}  # it ends at once, but has said so before
        assert "warning: videos go to the folder" in run(wrong, tmp_path, command).stderr
        elsewhere = wrong | {"REPLYHOOK_STORAGE_URL": "s3://bucket/videos"}
        assert "warning: videos" not in run(elsewhere, tmp_path, command).stderr


def test_a_receiver_does_not_make_up_keys_that_the_others_would_not_know(env: dict[str, str], tmp_path: Path) -> None:
    del env["REPLYHOOK_SIGNING_KEYS"]
    refused = run(env, tmp_path, "serve", "--port", "0")
    assert refused.returncode != 0
    assert "REPLYHOOK_SIGNING_KEYS" in refused.stderr
    assert not (tmp_path / "replyhook-data" / "secrets.json").exists()


def test_a_wrong_password_is_said_without_it(env: dict[str, str], tmp_path: Path) -> None:
    env["REPLYHOOK_DATABASE_URL"] = env["REPLYHOOK_DATABASE_URL"].replace(f"{PASSWORD}@", f"{PASSWORD}-and-more@")
    refused = run(env, tmp_path, "serve", "--port", "0")
    assert refused.returncode != 0
    assert "password authentication failed" in refused.stderr


def test_what_a_killed_receiver_acknowledged_the_other_has(env: dict[str, str], tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    tokens = TokenKeys([SIGNING_KEY])
    with ExitStack() as stack:
        receivers = []
        for port in ports:
            arguments = ["serve", "--port", str(port), "--data-dir", str(tmp_path / str(port))]
            output = tmp_path / f"{port}.log"
            receivers.append(stack.enter_context(running(*arguments, env=env, cwd=tmp_path, output=output)))
        for port, receiver in zip(ports, receivers, strict=True):
            wait_for(f"http://127.0.0.1:{port}/readyz", receiver)
        jobs = [new_id("job") for _ in range(20)]
        for job in jobs:
            token = tokens.mint(provider="useapi", job_id=job, now=datetime.now(UTC))
            body = json.dumps({"video_id": f"v-{job}", "video_status_name": "FAILED", "replyRef": job}).encode()
            with urlopen(f"http://127.0.0.1:{ports[0]}/callbacks/useapi/{token}", body) as answer:
                assert answer.status == 200
        receivers[0].kill()
        request = Request(f"http://127.0.0.1:{ports[1]}/v1/jobs?limit=100")
        request.add_header("authorization", f"Bearer {KEY}")
        with urlopen(request) as answer:  # noqa: S310
            found = {job["id"]: job["status"] for job in json.load(answer)["data"]}
    assert found == dict.fromkeys(jobs, "failed")
    for port in ports:
        assert PASSWORD not in (tmp_path / f"{port}.log").read_text()
