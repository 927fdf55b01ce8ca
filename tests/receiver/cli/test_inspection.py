"""`replyhook callbacks`, `events`, `explain` and `trigger` as programs, against a receiver and a sandbox that run."""

import json
import os
import pty
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.request import Request, urlopen

import pytest

from replyhook.ids import new_id
from replyhook_receiver.cli.triggers import BODIES, NAMES
from tests import program
from tests.stage import KEY, Stage, a_stage, free_port

pytest.importorskip("av", reason="the sandbox makes real videos")

PROGRAM = [sys.executable, "-m", "replyhook_receiver"]
NASTY = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egpj.exe\u2066\r\n\x00\x7f<b>[red]x[/red]&"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with a_stage(tmp_path_factory.mktemp("stage")) as running:
        yield running


def run(stage: Stage, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return program.run(*arguments, env=stage.env | env, cwd=stage.folder)


def ok(stage: Stage, *arguments: str, **env: str) -> str:
    done = run(stage, *arguments, **env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def call(stage: Stage, method: str, path: str, content: Any = None, body: bytes | None = None) -> Any:
    url = path if "://" in path else f"{stage.receiver_url}{path}"
    data = body if body is not None else None if content is None else json.dumps(content).encode()
    request = Request(url, data=data, method=method, headers={"authorization": f"Bearer {KEY}"})  # noqa: S310 - loopback
    request.add_header("content-type", "application/json")
    with urlopen(request, timeout=20) as answer:  # noqa: S310
        return answer.read()


def eventually(is_so: Callable[[], bool]) -> None:
    for _ in range(60):  # each time a program of its own, which takes its time
        if is_so():
            return
    raise AssertionError("it never came to be so")


def test_a_job_is_explained_by_whatever_it_is_called(stage: Stage) -> None:
    hook = f"http://127.0.0.1:{free_port()}/hooks/geheim?x=geheim"
    command = ["submit", stage.source, "on", "--provider", "fal", "--quality", "540p", "--ref", "order-7"]
    job = ok(stage, *command, "--notify", hook, "-o", "id").strip()
    story = json.loads(ok(stage, "explain", job, "-o", "json"))
    kinds = [entry["kind"] for entry in story["data"]]
    assert kinds[:3] == ["registered", "submission", "callback"]
    assert {"task", "stored", "notification", "delivery"} <= set(kinds)
    callback = next(entry for entry in story["data"] if entry["kind"] == "callback")
    delivery = next(entry for entry in story["data"] if entry["kind"] == "delivery")
    assert (callback["trust"], callback["verdict"]) == ("signed", "applied")
    for name in ("order-7", callback["id"], delivery["id"], story["job"]["provider_job_id"]):
        assert ok(stage, "explain", name, "-o", "id").strip() == job
    text = ok(stage, "explain", "order-7")
    assert text.startswith(f"{job}  fal  succeeded  video stored  reference order-7")
    assert "applied, signed: succeeded" in text
    assert "\x1b" not in text
    assert "geheim" not in text + json.dumps(story)
    assert "+0.000 s  registered" in text
    lines = ok(stage, "explain", job, "-o", "jsonl").splitlines()
    assert [json.loads(line)["kind"] for line in lines] == kinds
    unknown = run(stage, "explain", "nobody")
    assert (unknown.returncode, unknown.stdout) == (5, "")
    assert "nothing is called nobody" in unknown.stderr


def test_on_a_terminal_the_story_has_colours_unless_they_are_not_wanted(stage: Stage) -> None:
    job = ok(stage, "trigger", "aihubmax.failed").strip()
    for more, has_colour in (({}, True), ({"NO_COLOR": "1"}, False)):
        here, there = pty.openpty()
        env = stage.env | {"TERM": "xterm-256color", "COLUMNS": "160"} | more
        process = subprocess.Popen([*PROGRAM, "explain", job], env=env, stdout=there, stderr=there)
        os.close(there)
        shown = b""
        with suppress(OSError):  # the other side has ended
            while chunk := os.read(here, 4096):
                shown += chunk
        os.close(here)
        assert process.wait(timeout=20) == 0
        assert (b"\x1b[31m" in shown) is has_colour


@pytest.mark.parametrize("name", sorted(BODIES))
def test_every_trigger_is_believed_and_does_what_its_name_says(stage: Stage, name: str) -> None:
    done = run(stage, "trigger", name)
    assert done.returncode == 0, done.stderr
    job = done.stdout.strip()
    assert done.stderr.startswith(f"{name}: 200 ok; ")
    provider, what = name.split(".")
    (event,) = json.loads(ok(stage, "events", "list", "--job", job, "-o", "json"))["data"]
    wanted = {"moderated": "failed", "no_result": "succeeded"}.get(what, what)
    assert (event["provider"], event["status"], event["verdict"]) == (provider, wanted, "applied")
    if what == "succeeded":
        ok(stage, "jobs", "wait", job, "--timeout", "20")


def test_segminds_trigger_is_a_job_at_the_sandbox(stage: Stage) -> None:
    job = ok(stage, "trigger", "segmind.succeeded").strip()
    ok(stage, "jobs", "wait", job, "--timeout", "30")
    real = {"REPLYHOOK_PROVIDERS__SEGMIND__BASE_URL": "https://api.segmind.com"}
    refused = run(stage, "trigger", "segmind.succeeded", **real)
    assert (refused.returncode, "billed" in refused.stderr) == (4, True)


def test_a_trigger_tells_of_a_job_that_is_there(stage: Stage) -> None:
    job = ok(stage, "trigger", "useapi.running").strip()
    event = json.loads(ok(stage, "events", "list", "--job", job, "-o", "json"))["data"][0]["id"]
    assert ok(stage, "trigger", "useapi.failed", "--job", event).strip() == job, "by what it has, as well as by its id"
    assert json.loads(ok(stage, "jobs", "get", job, "-o", "json"))["status"] == "failed"
    for name in ("fal.failed", "segmind.failed"):
        assert run(stage, "trigger", name, "--job", job).returncode == 2
    assert run(stage, "trigger", "useapi.failed", "--job", "job_06gzvyj6038xt427xgy6esgkjx").returncode == 5


def test_a_trigger_that_nobody_would_believe_says_why(stage: Stage) -> None:
    jobs = ok(stage, "jobs", "list", "--provider", "fal", "-o", "id")
    no_sandbox = run(stage, "trigger", "fal.succeeded", REPLYHOOK_PROVIDERS__FAL__JWKS_URL="https://rest.fal.ai/jwks")
    assert (no_sandbox.returncode, "only fal has" in no_sandbox.stderr) == (4, True)
    assert ok(stage, "jobs", "list", "--provider", "fal", "-o", "id") == jobs, "no job is made for it"
    wrong = run(stage, "trigger", "pixverse.failed", REPLYHOOK_PROVIDERS__PIXVERSE__WEBHOOK_SECRETS="wrong")
    assert (wrong.returncode, "(401)" in wrong.stderr) == (4, True)
    assert run(stage, "trigger", "fal.exploded").returncode == 2
    assert run(stage, "trigger").returncode == 2


@pytest.mark.parametrize("name", ["fal.succeeded", "pixverse.failed", "useapi.running", "segmind.succeeded"])
def test_a_dry_run_prints_the_request_without_its_secrets_and_makes_nothing(stage: Stage, name: str) -> None:
    before = ok(stage, "jobs", "list", "-o", "id")
    printed = ok(stage, "trigger", name, "--dry-run")
    assert printed.startswith(f"POST {stage.receiver_url}/")
    assert ok(stage, "jobs", "list", "-o", "id") == before
    for secret in (KEY, stage.env["REPLYHOOK_PROVIDERS__PIXVERSE__WEBHOOK_SECRETS"]):
        assert secret not in printed
    if not name.startswith("segmind"):
        assert f"/callbacks/{name.partition('.')[0]}/(hidden)\n" in printed


def test_all_triggers_are_listed(stage: Stage) -> None:
    assert ok(stage, "trigger", "--list", "-o", "id").split() == NAMES
    assert {name.partition(".")[0] for name in NAMES} == {"aihubmax", "fal", "pixverse", "segmind", "useapi"}
    assert "Segmind calls nobody back" in ok(stage, "trigger", "--list")


def test_a_replay_is_dry_until_it_is_applied(stage: Stage) -> None:
    job = ok(stage, "trigger", "useapi.succeeded").strip()
    ok(stage, "jobs", "wait", job, "--timeout", "20")
    (callback,) = ok(stage, "callbacks", "list", "--job", job, "-o", "id").split()
    dry = run(stage, "callbacks", "replay", callback, "--what", "parse,state,download,notify")
    assert dry.returncode == 0
    assert "read today   the same" in dry.stdout
    assert "duplicate: succeeded 100 %, video stored" in dry.stdout
    assert "not needed: the video is stored" in dry.stdout
    assert "dry run" in dry.stderr
    assert "nothing was changed" in run(stage, "callbacks", "replay", callback, "--apply").stderr
    assert ok(stage, "callbacks", "list", "--job", job, "-o", "id").split() == [callback]
    told = json.loads(ok(stage, "callbacks", "replay", callback, "--what", "state", "--apply", "-o", "json"))
    assert (told["dry_run"], told["verdict"], told["announced"]) == (False, "duplicate", [])
    newest, first = json.loads(ok(stage, "callbacks", "list", "--job", job, "-o", "json"))["data"]
    assert (newest["id"], newest["source"], first["id"]) == (told["callback_id"], "replay", callback)
    assert run(stage, "callbacks", "replay", callback, "--what", "everything").returncode == 2
    assert run(stage, "callbacks", "replay", "cb_x").returncode == 5


def test_lists_are_filtered_from_the_command_line(stage: Stage) -> None:
    job = ok(stage, "trigger", "useapi.moderated").strip()
    (callback,) = ok(
        stage, "callbacks", "list", "--job", job, "--since", "1h", "--trust", "token_only", "-o", "id"
    ).split()
    assert ok(stage, "callbacks", "list", "--job", job, "--until", "1h", "-o", "id") == ""
    for listed in ("callbacks", "events", "deliveries"):
        assert ok(stage, listed, "list", "--ref", "nobody's", "--user", "nobody", "-o", "id") == ""
    (line,) = ok(stage, "callbacks", "list", "--job", job, "--verdict", "applied", "-o", "jsonl").splitlines()
    assert json.loads(line)["id"] == callback
    whole = json.loads(ok(stage, "callbacks", "get", callback, "-o", "json"))
    assert json.loads(whole["body"])["video_status_name"] == "MODERATED"
    assert "example.com" not in whole["body"]
    assert "example.com" in ok(stage, "callbacks", "get", callback, "--raw")
    assert run(stage, "callbacks", "list", "--since", "yesterday").returncode == 2
    page = run(stage, "events", "list", "--limit", "1", "-o", "id")
    assert f"--before {page.stdout.strip()}" in page.stderr


def is_harmless(text: str) -> bool:
    """Whether nothing in it moves a cursor or turns letters round; line ends alone are ours."""
    return not [
        letter for letter in text if unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp") and letter not in "\n\t"
    ]


def test_a_hostile_callback_moves_no_cursor(stage: Stage) -> None:
    job = new_id("job")
    registered = json.loads(call(stage, "PUT", f"/v1/jobs/{job}", {"provider": "useapi", "reference": "hostile"}))
    body = {
        "video_id": NASTY,
        "video_status_name": "FAILED",
        "errMsg": NASTY * 9_000,
        "errCode": NASTY,
        "replyRef": job,
    }
    call(stage, "POST", registered["reply_url"], body=json.dumps(body, ensure_ascii=False).encode())
    call(stage, "POST", registered["reply_url"], body=NASTY.encode() * 1000)
    call(stage, "POST", registered["reply_url"], body=json.dumps({"video_status_name": NASTY}).encode())
    ids = ok(stage, "callbacks", "list", "--job", job, "-o", "id").split()
    assert len(ids) == 3
    shown = [ok(stage, "callbacks", "get", each, *more) for each in ids for more in ((), ("--raw",), ("-o", "json"))]
    for output in ("table", "json", "jsonl"):
        shown += [
            ok(stage, *words, "--job", job, "-o", output) for words in (("callbacks", "list"), ("events", "list"))
        ]
        shown += [ok(stage, "explain", "hostile", "-o", output), ok(stage, "jobs", "get", job)]
        shown += [ok(stage, "callbacks", "replay", *ids, "--what", "parse,state", "-o", output)]
    for text in shown:
        assert is_harmless(text), repr(text[:400])
    assert max(len(text) for text in shown if not text.lstrip().startswith("{")) < 20_000
    assert not is_harmless(NASTY)
    missing = run(stage, "explain", NASTY.replace("\x00", ""))
    assert (missing.returncode, is_harmless(missing.stderr)) == (5, True)


def test_an_orphan_is_found_and_bound_from_the_command_line(stage: Stage) -> None:
    known = ok(stage, "trigger", "pixverse.running").strip()
    ok(stage, "trigger", "pixverse.failed", "--job", known, "--provider-job-id", "987654321")
    (orphan,) = ok(stage, "callbacks", "list", "--orphans", "-o", "id").split()
    unexplained = run(stage, "explain", orphan)
    assert (unexplained.returncode, "callbacks bind" in unexplained.stderr) == (5, True)
    job = new_id("job")
    call(stage, "PUT", f"/v1/jobs/{job}", {"provider": "pixverse"})
    assert run(stage, "callbacks", "bind", orphan, known).returncode == 1
    assert "its status is failed" in ok(stage, "callbacks", "bind", orphan, job)
    assert ok(stage, "callbacks", "list", "--orphans", "-o", "id") == ""
    assert ok(stage, "explain", orphan, "-o", "id").strip() == job
    assert ok(stage, "explain", "987654321", "-o", "id").strip() == job
    assert json.loads(ok(stage, "callbacks", "bind", orphan, job, "-o", "json"))["id"] == job


def test_a_filter_takes_a_jobs_reference_and_says_where_nothing_is_called_so(stage: Stage) -> None:
    hook = f"http://127.0.0.1:{free_port()}/hook"
    command = ["submit", stage.source, "on", "--provider", "fal", "--quality", "540p", "--ref", "order-44"]
    job = ok(stage, *command, "--notify", hook, "-o", "id").strip()
    for group in ("callbacks", "events", "deliveries", "endpoints"):
        by_id = ok(stage, group, "list", "--job", job, "-o", "id")
        assert by_id, group
        assert ok(stage, group, "list", "--job", "order-44", "-o", "id") == by_id
        unknown = run(stage, group, "list", "--job", "order-45")
        assert (unknown.returncode, unknown.stdout) == (5, ""), unknown.stderr
        assert "nothing is called order-45" in unknown.stderr
    ok(stage, *command, "--no-wait")
    retry = run(stage, "deliveries", "retry", "--job", "order-44", "--yes")
    assert (retry.returncode, "several jobs are called so" in retry.stderr) == (2, True)
