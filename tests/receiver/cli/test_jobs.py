"""`replyhook submit` and `replyhook jobs` as programs: data on stdout, progress on stderr, exit codes."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests import program
from tests.stage import Stage, a_stage

pytest.importorskip("av", reason="the sandbox makes real videos")

PROGRAM = [sys.executable, "-m", "replyhook_receiver"]
UNKNOWN = "job_06gzvyj6038xt427xgy6esgkjx"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with a_stage(tmp_path_factory.mktemp("stage")) as running:
        yield running


def run(stage: Stage, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return program.run(*arguments, env=stage.env | env, cwd=stage.folder)


def submit(stage: Stage, *more: str, prompt: str = "on", provider: str = "useapi") -> subprocess.CompletedProcess[str]:
    return run(stage, "submit", stage.source, prompt, "--provider", provider, "--quality", "540p", *more)


def submitted(stage: Stage, *more: str, **how: str) -> str:
    done = submit(stage, "--no-wait", "-o", "id", *more, **how)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_submit_waits_saves_the_video_and_prints_the_job(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    done = submit(stage, "--ref", "order-42", "--user", "u_7", "--download", str(path), "-o", "json")
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert (job["status"], job["video"]["status"]) == ("succeeded", "stored")
    assert (job["reference"], job["user"], job["video"]["duration"] > 5) == ("order-42", "u_7", True)
    assert path.stat().st_size == job["video"]["bytes"]
    lines = done.stderr.splitlines()
    assert lines[0] == f"{job['id']}: submitted to useapi"
    assert any(line.startswith(f"{job['id']}: job.running ") and line.endswith(" %") for line in lines)
    assert lines[-2:] == [f"{job['id']}: video.stored", f"saved {path}"]
    assert "\x1b" not in done.stderr + done.stdout


def test_a_submit_need_not_wait_and_others_can(stage: Stage, tmp_path: Path) -> None:
    job = submitted(stage, provider="fal")
    waited = run(stage, "jobs", "wait", job, "--timeout", "30", "-o", "jsonl")
    assert waited.returncode == 0, waited.stderr
    assert json.loads(waited.stdout)["video"]["status"] == "stored"
    assert waited.stdout.count("\n") == 1
    got = run(stage, "jobs", "get", job)
    assert got.returncode == 0
    assert job in got.stdout
    assert "succeeded" in got.stdout
    saved = run(stage, "jobs", "download", job, str(tmp_path / "out.mp4"))
    assert (saved.returncode, saved.stdout) == (0, "")
    assert (tmp_path / "out.mp4").read_bytes()[4:8] == b"ftyp"


def test_jobs_are_listed_newest_first(stage: Stage) -> None:
    reference = f"listed-{time.time_ns()}"
    made = [submitted(stage, "--ref", reference) for _ in range(3)]
    ids = run(stage, "jobs", "list", "--ref", reference, "-o", "id")
    assert ids.stdout.split() == made[::-1]
    page = run(stage, "jobs", "list", "--ref", reference, "--limit", "2", "-o", "json")
    content = json.loads(page.stdout)
    assert [job["id"] for job in content["data"]] == made[:0:-1]
    assert content["has_more"] is True
    lines = run(stage, "jobs", "list", "--ref", reference, "--before", made[1], "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == made[:1]
    table = run(stage, "jobs", "list", "--ref", reference, "--limit", "2")
    assert all(job in table.stdout for job in made[1:])
    assert table.stdout.count(reference) == 2
    assert f"--before {made[1]}" in table.stderr
    assert run(stage, "jobs", "list", "--provider", "segmind", "--ref", reference, "-o", "id").stdout == ""


def test_a_canceled_job_fails_with_its_story_on_stdout(stage: Stage) -> None:
    job = submitted(stage, provider="fal")
    canceled = run(stage, "jobs", "cancel", job)
    assert (canceled.returncode, canceled.stdout) == (0, "")
    waited = run(stage, "jobs", "wait", job, "--timeout", "30", "-o", "json")
    assert waited.returncode == 3
    assert json.loads(waited.stdout)["status"] == "canceled"
    assert waited.stderr.splitlines()[-1].startswith("replyhook: job ")
    refused = run(stage, "jobs", "cancel", submitted(stage, prompt="[[fault:never]]"))
    assert (refused.returncode, "useapi has no way" in refused.stderr) == (1, True)


def test_a_job_that_the_receiver_was_to_submit_is_canceled_and_never_submitted(stage: Stage, tmp_path: Path) -> None:
    assert run(stage, "hold", "on").returncode == 0
    try:
        before = stage.calls("segmind").get("submit", 0)
        started = submit(stage, "--no-wait", "-o", "id", provider="segmind")
        assert started.returncode == 0, started.stderr
        job = started.stdout.strip()
        early = run(stage, "jobs", "download", job, str(tmp_path / "none.mp4"))
        assert (early.returncode, "not stored yet" in early.stderr) == (6, True)
        canceled = run(stage, "jobs", "cancel", job, "-o", "json")
        assert (canceled.returncode, "never submitted" in canceled.stderr) == (0, True)
        assert json.loads(canceled.stdout)["status"] == "canceled"
        assert run(stage, "jobs", "cancel", job).returncode == 0
    finally:
        assert run(stage, "hold", "off").returncode == 0
    gone = run(stage, "jobs", "download", job, str(tmp_path / "none.mp4"))
    assert (gone.returncode, "will not get one" in gone.stderr) == (3, True)
    assert run(stage, "jobs", "download", UNKNOWN, str(tmp_path / "none.mp4")).returncode == 5
    assert not (tmp_path / "none.mp4").exists()
    listed = run(stage, "jobs", "list", "--error", "CANCELED BEFORE", "--created-after", "1h", "-o", "id")
    assert listed.stdout.split() == [job]
    assert run(stage, "jobs", "list", "--error", "canceled before", "--created-before", "1h", "-o", "id").stdout == ""
    no_video = ("--error", "canceled before", "--since", "1h", "--not-overdue", "--not-expiring")
    assert run(stage, "jobs", "list", *no_video, "--video", "none", "-o", "id").stdout.split() == [job]
    for other in (("--overdue",), ("--expiring",), ("--video", "lost", "--error", "canceled before")):
        assert run(stage, "jobs", "list", *other, "-o", "id").stdout == "", other
    assert run(stage, "jobs", "list", "--since", "1h", "--created-after", "1h").returncode == 2
    assert run(stage, "events", "list", "--since", "1h", "-o", "json").returncode == 0
    assert stage.calls("segmind").get("submit", 0) == before


def test_an_estimate_prints_prices_and_reasons_and_submits_nothing(stage: Stage) -> None:
    def asked() -> list[int]:
        return [stage.calls(name).get(what, 0) for name in ("fal", "useapi") for what in ("submit", "upload")]

    before = asked()
    estimate = ["submit", stage.source, "on", "--quality", "1080p", "--prefer", "price", "--estimate"]
    lines = run(stage, *estimate, "-o", "jsonl").stdout.splitlines()
    told = {each["provider"]: each for each in map(json.loads, lines)}
    assert set(told) == {"fal", "pixverse", "aihubmax", "useapi", "segmind"}
    assert told["fal"] == {"provider": "fal", "price": {"lowest": "0.450", "highest": "0.450"}, "problem": None}
    assert "360p, 540p" in told["useapi"]["problem"]
    assert json.loads(run(stage, *estimate, "-o", "json").stdout)["data"] == list(told.values())
    table = run(stage, *estimate).stdout
    assert "$0.450" in table
    assert "not published" in table
    assert "360p, 540p" in table
    able = run(stage, *estimate, "--provider", "useapi, segmind, fal", "-o", "id")
    assert (able.returncode, able.stdout.split()) == (0, ["fal", "segmind"])
    assert asked() == before


def test_of_several_providers_the_next_is_asked_after_a_refusal_and_stderr_tells(stage: Stage) -> None:
    done = submit(stage, "--no-wait", "--patience", "0", provider="fal,useapi", prompt="[[refuse:429]]")
    both = done.stderr.splitlines()[-1]
    assert (done.returncode, "fal: " in both, "useapi: " in both) == (1, True, True), done.stderr
    chosen = submit(stage, "--no-wait", "-o", "json", "--prefer", "price", "--max-price", "0.2", provider="auto")
    assert json.loads(chosen.stdout)["provider"] == "fal"
    gone = {"REPLYHOOK_PROVIDERS__FAL__BASE_URL": "http://127.0.0.1:9"}
    command = ["submit", stage.source, "on", "--provider", "fal,useapi", "--patience", "0", "--no-wait", "-o", "json"]
    left = run(stage, *command, **gone)
    assert json.loads(left.stdout)["provider"] == "useapi"
    first, second = left.stderr.splitlines()
    assert first.startswith("went on from fal: the provider could not be reached")
    assert second.endswith(": submitted to useapi")


def test_what_the_receiver_warns_of_is_told(tmp_path: Path) -> None:
    with a_stage(tmp_path, providers__fal__api_key="") as stage:
        done = submit(stage, provider="fal")
    assert done.returncode == 0, done.stderr
    assert sum(line.startswith("warning: no_provider_key: ") for line in done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("code", "arguments", "env", "says"),
    [
        (2, ["submit", "SOURCE", "on", "--provider", "fal,,useapi"], {}, "NAME,NAME"),
        (2, ["submit", "SOURCE", "on", "--provider", "auto", "--duration", "99"], {}, "duration=99"),
        (2, ["submit", "SOURCE", "on", "--estimate", "--download", "x"], {}, "--download"),
        (2, ["submit", "SOURCE", "on", "--provider", "fal,sora"], {}, "sora"),
        (4, ["submit", "SOURCE", "[[refuse:401]]", "--provider", "fal,useapi"], {}, "no provider is left"),
        (
            1,  # one of them lacks its key, the other cannot
            ["submit", "SOURCE", "on", "--provider", "fal,useapi", "--duration", "15"],
            {"REPLYHOOK_PROVIDERS__FAL__API_KEY": ""},
            "no provider is left",
        ),
        (2, ["submit", "SOURCE", "on"], {}, "--provider"),
        (2, ["submit", "SOURCE", "on", "--provider", "useapi", "--duration", "99"], {}, "duration=99"),
        (2, ["submit", "missing.mp4", "on", "--provider", "useapi"], {}, "missing.mp4"),
        (2, ["submit", "SOURCE", "on", "--provider", "useapi", "--option", "x"], {}, "NAME=VALUE"),
        (2, ["submit", "SOURCE", "on", "--provider", "useapi", "--download", "x", "--no-wait"], {}, "--download"),
        (2, ["jobs", "list", "--status", "done"], {}, "done"),
        (2, ["jobs", "list", "--before", "x"], {}, "before"),
        (3, ["submit", "SOURCE", "[[fault:failed]]", "--provider", "fal"], {}, "failed"),
        (4, ["jobs", "list"], {"REPLYHOOK_API_KEY": ""}, "REPLYHOOK_API_KEY"),
        (4, ["jobs", "list"], {"REPLYHOOK_API_KEY": "rhk_wrong"}, "API key"),
        (2, ["submit", "SOURCE", "on", "--provider", "sora"], {}, "sora"),
        (4, ["submit", "SOURCE", "[[refuse:401]]", "--provider", "fal"], {}, "refused"),
        (5, ["jobs", "get", UNKNOWN], {}, UNKNOWN),
        (5, ["jobs", "wait", UNKNOWN], {}, UNKNOWN),
        (6, ["submit", "SOURCE", "[[fault:never]]", "--provider", "fal", "--timeout", "0.3"], {}, "not ended"),
        (1, ["jobs", "list"], {"REPLYHOOK_RECEIVER_URL": "http://127.0.0.1:9"}, "could not be reached"),
    ],
    ids=str,
)
def test_an_exit_code_says_what_went_wrong_and_stderr_says_it_in_words(
    stage: Stage, code: int, arguments: list[str], env: dict[str, str], says: str
) -> None:
    done = run(stage, *(stage.source if each == "SOURCE" else each for each in arguments), **env)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert says in done.stderr.splitlines()[-1]
    # A job that there is may have cost money: it is told on stdout, whatever went wrong afterwards.
    assert bool(done.stdout) == (code in (3, 6)), done.stdout


def test_an_interrupted_wait_is_130_and_has_told_the_job(stage: Stage) -> None:
    arguments = ["submit", stage.source, "[[fault:never]]", "--provider", "fal"]
    process = subprocess.Popen([*PROGRAM, *arguments], env=stage.env, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    told = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=20)
    assert process.returncode == 130
    assert told.startswith("job_")
    job = told.partition(":")[0]
    assert rest.split("\n") == [f"{job} goes on: `replyhook jobs wait {job}`", "", "interrupted", ""]


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}], ids=str)
def test_on_a_terminal_the_progress_moves_and_the_data_stays_clean(
    stage: Stage, tmp_path: Path, env: dict[str, str]
) -> None:
    here, there = pty.openpty()
    arguments = [
        "submit",
        stage.source,
        "on",
        "--provider",
        "useapi",
        "--download",
        str(tmp_path / "out.mp4"),
        "-o",
        "id",
    ]
    process = subprocess.Popen(
        [*PROGRAM, *arguments], env=stage.env | {"TERM": "xterm-256color"} | env, stdout=subprocess.PIPE, stderr=there
    )
    os.close(there)
    shown = _all_of(here)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0, shown
    assert out.decode().strip().startswith("job_")
    assert out.count(b"\n") == 1
    assert "job.running" in shown
    assert "\x1b[" in shown  # a line that moves
    assert ("\x1b[32m" in shown) is not bool(env)


def test_a_file_is_uploaded_and_a_terminal_shows_how_far(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    with urlopen(stage.source) as clip:  # noqa: S310 - loopback
        path.write_bytes(clip.read())
    arguments = ["submit", str(path), "on", "--provider", "useapi", "--no-wait", "-o", "id"]
    here, there = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, *arguments], env=stage.env | {"TERM": "xterm-256color"}, stdout=subprocess.PIPE, stderr=there
    )
    os.close(there)
    shown = _all_of(here)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out.decode()[:4]) == (0, "job_"), shown
    assert "uploading" in shown
    piped = run(stage, *arguments)
    assert piped.returncode == 0
    assert "uploading" not in piped.stderr + piped.stdout
    path.write_bytes(b"")
    empty = run(stage, *arguments)
    assert (empty.returncode, "it is empty" in empty.stderr) == (2, True), empty.stderr


def _all_of(descriptor: int) -> str:
    chunks: list[bytes] = []
    while True:
        try:
            chunk = os.read(descriptor, 4096)
        except OSError:  # the other side has ended
            chunk = b""
        if not chunk:
            os.close(descriptor)
            return b"".join(chunks).decode(errors="replace")
        chunks.append(chunk)


def test_a_detached_submit_is_told_its_id_and_cannot_wait(tmp_path: Path) -> None:
    key = "u_7:detached-0123456789-0123456789"
    with a_stage(tmp_path, reply_keys=key, allow_detached="true") as stage:
        detached: dict[str, Any] = {
            "REPLYHOOK_API_KEY": "", "REPLYHOOK_REPLY_KEYS": key, "REPLYHOOK_PUBLIC_URL": stage.receiver_url,
        }  # fmt: skip
        arguments = ["submit", stage.source, "on", "--provider", "fal"]
        able = run(stage, *arguments[:3], "--estimate", "-o", "id", **detached)
        assert sorted(able.stdout.split()) == ["aihubmax", "fal", "useapi"]
        refused = run(stage, *arguments, **detached)
        assert (refused.returncode, "--no-wait" in refused.stderr) == (4, True)
        assert stage.calls("fal").get("submit", 0) == 0
        done = run(stage, *arguments, "--no-wait", "-o", "json", **detached)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["reply_url"].startswith(f"{stage.receiver_url}/callbacks/fal/")
        assert told["id"].startswith("job_")
