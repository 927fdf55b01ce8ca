"""The README's examples, run as they stand there."""

import json
import os
import re
import subprocess
import sys
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from replyhook import VerificationError
from tests.stage import KEY, Stage, a_stage

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def example(mark: str) -> str:
    found = re.search(rf"<!-- {re.escape(mark)} -->\n```(?:python|sh)\n(.*?)```", README, flags=re.DOTALL)
    assert found
    return found[1]


def run(mark: str, stage: Stage) -> str:
    """Run an example; what it printed."""
    program = example(mark).replace("http://127.0.0.1:9100", stage.sandbox_url)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=stage.env,
        cwd=stage.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_quick_start_works_as_written(tmp_path: Path) -> None:
    with a_stage(tmp_path, speed=60) as stage:
        run("quickstart.py", stage)
        printed = run("subscribe.py", stage)
        chosen = run("choosing", stage).splitlines()
        receiver = stage.receiver
    assert re.search(r"job.running \d+\n(.*\n)*video.stored .*\n7\.\d+ seconds\n(.*\n)*(\d+) of \3\n$", printed)
    assert chosen[:2] == ["fal: $0.175", "segmind: $0.375 to $1.00"]
    assert chosen[-1] == "fal has it; left were []"
    assert sum("price not published" in line for line in chosen) == 3
    assert (tmp_path / "extended.mp4").read_bytes()[4:8] == b"ftyp"
    assert (tmp_path / "out.mp4").read_bytes()[4:8] == b"ftyp"
    log = (tmp_path / "serve.log").read_text()
    assert "PUT /v1/jobs/{id} 200" in log  # callbacks that were taken are in the database; they are logged at debug
    assert KEY not in log
    assert not re.search(r"/callbacks/\w+/[^{]", log), "a token stands in the log"
    assert receiver is not None
    assert receiver.returncode == 130
    assert "Traceback" not in log


def test_the_command_lines_examples_work_as_written(tmp_path: Path) -> None:
    with a_stage(tmp_path, speed=60) as stage:
        program = "set -euo pipefail\n" + example("cli").replace("http://127.0.0.1:9100", stage.sandbox_url)
        path = f"{Path(sys.executable).parent}{os.pathsep}{stage.env['PATH']}"
        done = subprocess.run(
            ["bash", "-c", program],  # noqa: S607 - the one on the path
            env=stage.env | {"PATH": path},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    references = [json.loads(line)["reference"] for line in done.stdout.splitlines() if line.startswith("{")]
    assert references == ["order-45", "order-44", "order-43"]
    assert re.search(r"^ *fal +\$0\.175 ", done.stdout, flags=re.MULTILINE), "the estimate comes first"
    assert (tmp_path / "out.mp4").read_bytes()[4:8] == b"ftyp"


def test_the_verification_example_believes_the_signed_and_refuses_the_rest() -> None:
    names: dict[str, object] = {}
    exec(example("verify"), names)  # noqa: S102 - the README's own example
    on_notification = names["on_notification"]
    assert callable(on_notification)
    secret = "whsec_" + b64encode(b"k" * 32).decode()
    body = b'{"type":"video.stored","timestamp":"2026-11-21T09:00:00Z","data":{"video":{"url":"https://x/v"}}}'
    now = datetime.now(UTC)
    headers = {
        "Webhook-Id": "ntf_1",
        "Webhook-Timestamp": str(int(now.timestamp())),
        "Webhook-Signature": Webhook(secret).sign("ntf_1", now, body.decode()),
    }
    assert on_notification(headers, body, secret) == "https://x/v"
    with pytest.raises(VerificationError):
        on_notification(headers, body.replace(b"https://x", b"https://y"), secret)
