"""`replyhook jobs` by a job's other names; having one tried again or asked about now; what the sandbox still needs."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.receiver.cli.test_jobs import run, submit, submitted
from tests.stage import Stage, a_stage

pytest.importorskip("av", reason="the sandbox makes real videos")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with a_stage(tmp_path_factory.mktemp("stage")) as running:
        yield running


def test_a_job_is_named_by_its_reference_wherever_by_its_id(stage: Stage, tmp_path: Path) -> None:
    reference = f"order-{time.time_ns()}"
    job = submitted(stage, "--ref", reference)
    assert run(stage, "jobs", "wait", reference, "--timeout", "30", "-o", "id").stdout.strip() == job
    assert run(stage, "jobs", "get", reference, "-o", "id").stdout.strip() == job
    assert run(stage, "jobs", "download", reference, str(tmp_path / "out.mp4")).returncode == 0
    newest = submitted(stage, "--ref", reference)
    got = run(stage, "jobs", "get", reference, "-o", "id")
    assert (got.stdout.strip(), job in got.stderr) == (newest, True)
    for command in ("cancel", "retry", "reconcile"):
        unclear = run(stage, "jobs", command, reference)
        assert (unclear.returncode, job in unclear.stderr, newest in unclear.stderr) == (2, True, True)
        nobody = run(stage, "jobs", command, "nobody-s-order")
        assert (nobody.returncode, "nothing is called nobody-s-order here" in nobody.stderr) == (5, True)
    assert run(stage, "jobs", "get", "nobody-s-order").returncode == 5


def test_a_job_is_asked_about_and_tried_again_now_or_it_is_said_why_not(stage: Stage) -> None:
    silent = submitted(stage, "--ref", f"silent-{time.time_ns()}", prompt="[[fault:never]]")
    asked = run(stage, "jobs", "reconcile", silent, "-o", "json")
    assert (asked.returncode, json.loads(asked.stdout)) == (0, {"id": silent, "asked": True}), asked.stderr
    assert "is asked" in asked.stderr
    for _ in range(30):  # until it has ended there; nobody calls back
        if run(stage, "jobs", "wait", silent, "--timeout", "1").returncode == 0:
            break
        run(stage, "jobs", "reconcile", silent)
    ended = run(stage, "jobs", "reconcile", silent)
    assert (ended.returncode, ended.stdout, "has ended" in ended.stderr) == (1, "", True)
    nothing = run(stage, "jobs", "retry", silent)
    assert (nothing.returncode, "that could be tried again" in nothing.stderr) == (1, True)
    lost = submitted(stage, prompt="[[fault:html]]")
    assert run(stage, "jobs", "wait", lost, "--until", "succeeded", "--timeout", "30").returncode == 0
    retried = run(stage, "jobs", "retry", lost, "-o", "json")
    assert (retried.returncode, json.loads(retried.stdout)["retried"]) == (0, ["download"]), retried.stderr
    assert "the video" in retried.stderr


def test_what_the_sandbox_lacks_for_pixverse_is_said_with_the_command_that_mends_it(
    stage: Stage, tmp_path: Path
) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("the command is curl's")
    refused = submit(stage, provider="pixverse")
    assert (refused.returncode, "matching webhook_id" in refused.stderr) == (1, True), refused.stderr
    command = re.search(r"`(curl [^`]*)`", refused.stderr)
    assert command is not None, refused.stderr
    ours = tmp_path / "replyhook"
    ours.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m replyhook_receiver "$@"\n')
    ours.chmod(0o700)
    env = stage.env | stage.settings | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    told = subprocess.run(["/bin/sh", "-c", command[1]], env=env, cwd=stage.folder, capture_output=True, check=True)
    assert json.loads(told.stdout)["url"].startswith(f"{stage.receiver_url}/callbacks/pixverse/")
    done = submit(stage, provider="pixverse")
    assert done.returncode == 0, done.stderr
