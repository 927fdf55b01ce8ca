"""`replyhook deliveries` as a program."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from urllib.request import Request, urlopen

import pytest

from replyhook.ids import new_id
from replyhook_receiver.cli.harmless import harmless
from tests import program
from tests.stage import KEY, Stage, a_stage, free_port

pytest.importorskip("av", reason="the sandbox makes real videos")

PROGRAM = [sys.executable, "-m", "replyhook_receiver", "deliveries"]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with a_stage(tmp_path_factory.mktemp("stage")) as running:
        yield running


@pytest.fixture(scope="module")
def job(stage: Stage) -> str:
    """A job that failed, two endpoints of which cannot be reached."""
    job = new_id("job")
    nowhere = f"http://127.0.0.1:{free_port()}"
    ask(stage, "PUT", f"/v1/jobs/{job}", {"provider": "fal", "notify": [{"url": nowhere}, {"url": f"{nowhere}/two"}]})
    ask(stage, "POST", f"/v1/jobs/{job}/submission", {"outcome": "refused", "error": "no credits"})
    return job


def ask(stage: Stage, method: str, path: str, content: object) -> None:
    request = Request(stage.receiver_url + path, json.dumps(content).encode(), method=method)  # noqa: S310 - loopback
    request.add_header("authorization", f"Bearer {KEY}")
    request.add_header("content-type", "application/json")
    with urlopen(request) as answer:  # noqa: S310
        assert answer.status in (200, 201)


def run(stage: Stage, *arguments: str) -> subprocess.CompletedProcess[str]:
    return program.run("deliveries", *arguments, env=stage.env)


def test_deliveries_are_listed_and_shown(stage: Stage, job: str) -> None:
    ids = run(stage, "list", "--job", job, "-o", "id").stdout.split()
    assert len(ids) == 2
    page = json.loads(run(stage, "list", "--job", job, "--limit", "1", "-o", "json").stdout)
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (ids[:1], True)
    lines = run(stage, "list", "--job", job, "--before", ids[0], "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ids[1:]
    table = run(stage, "list", "--job", job, "--limit", "1")
    assert "job.failed" in table.stdout
    assert f"--before {ids[0]}" in table.stderr
    shown = json.loads(run(stage, "get", ids[0], "-o", "json").stdout)
    assert (shown["id"], shown["job_id"]) == (ids[0], job)
    assert "begun" in run(stage, "get", ids[0]).stdout
    both = run(stage, "list", "--job", job).stdout
    places = {json.loads(run(stage, "get", each, "-o", "json").stdout)["endpoint"]["id"] for each in ids}
    assert len(places) == 2
    assert all(each in both for each in (job, *places))


def test_an_endpoint_is_called_by_its_name(stage: Stage) -> None:
    job, nowhere = new_id("job"), f"http://127.0.0.1:{free_port()}"
    ask(stage, "POST", "/v1/endpoints", {"url": nowhere, "name": "the shop", "user": "ann"})
    ask(stage, "PUT", f"/v1/jobs/{job}", {"provider": "fal", "user": "ann"})
    ask(stage, "POST", f"/v1/jobs/{job}/submission", {"outcome": "refused", "error": "no credits"})
    assert "the shop ep_" in run(stage, "list", "--job", job).stdout
    assert "to the shop ep_" in program.run("explain", job, env=stage.env).stdout


def test_deliveries_are_put_back_one_or_by_a_filter(stage: Stage, job: str) -> None:
    (one, _) = run(stage, "list", "--job", job, "-o", "id").stdout.split()
    back = run(stage, "retry", one, "-o", "id")
    assert (back.returncode, back.stdout) == (0, f"{one}\n"), back.stderr
    dry = run(stage, "retry", "--job", job, "--status", "pending", "--dry-run")
    assert (dry.returncode, dry.stdout) == (0, "2 would be put back\n"), dry.stderr
    done = run(stage, "retry", "--job", job, "--status", "pending", "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["retried"]) == (0, 2), done.stderr


@pytest.mark.parametrize(("said", "code", "retried"), [("n\n", 130, False), ("y\n", 0, True)], ids=["no", "yes"])
def test_on_a_terminal_it_asks_before_several_are_put_back(
    stage: Stage, job: str, said: str, code: int, retried: bool
) -> None:
    here, there = pty.openpty()
    os.write(here, said.encode())
    command = [*PROGRAM, "retry", "--job", job, "--status", "pending"]
    done = subprocess.run(command, env=stage.env, stdin=there, capture_output=True, text=True, timeout=60, check=False)
    os.close(here)
    os.close(there)
    assert done.returncode == code, done.stderr
    assert "put 2 deliveries back?" in done.stderr
    assert ("2 are put back" in done.stdout) is retried


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["retry"], 2, "--status dead"),
        (["retry", "dlv_1", "--status", "dead"], 2, "either"),
        (["retry", "--status", "superseded"], 2, "pointless"),
        (["retry", "--since", "yesterday"], 2, "since"),
        (["get", "dlv_1"], 5, "no delivery"),
        (["list", "--status", "lost"], 2, "lost"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_with_its_exit_code(stage: Stage, arguments: list[str], code: int, words: str) -> None:
    done = run(stage, *arguments)
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr


def test_what_others_wrote_moves_no_cursor() -> None:
    assert harmless("\x1b[31mred\x9b2J\r\n\u202e") == "\\x1b[31mred\\x9b2J\\r\\n\\u202e"
