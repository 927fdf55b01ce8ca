"""The README's examples, run as they stand there."""

import os
import re
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from standardwebhooks.webhooks import Webhook

from replyhook import VerificationError
from replyhook_receiver.serving import free_socket

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
KEY = "rhk_quick_start_key_0001"


def example(mark: str) -> str:
    found = re.search(rf"<!-- {re.escape(mark)} -->\n```python\n(.*?)```", README, flags=re.DOTALL)
    assert found
    return found[1]


def free_port() -> int:
    with free_socket() as bound:
        return int(bound.getsockname()[1])


@contextmanager
def running(*arguments: str, env: dict[str, str], cwd: Path, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "replyhook_receiver", *arguments], env=env, cwd=cwd, stdout=file, stderr=file
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert process.poll() is None, "the server ended"
        try:
            with urlopen(url, timeout=1):  # noqa: S310 - loopback
                return
        except (URLError, ConnectionError):
            time.sleep(0.05)
    raise AssertionError(f"no answer from {url}")


def test_the_quick_start_works_as_written(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("REPLYHOOK_")}
    sandbox_port, receiver_port = free_port(), free_port()
    exports = tmp_path / "sandbox.env"
    arguments = ["sandbox", "--port", str(sandbox_port), "--speed", "60"]
    with running(*arguments, env=clean, cwd=tmp_path, output=exports) as sandbox:
        wait_for(f"http://127.0.0.1:{sandbox_port}/_sandbox/calls", sandbox)
        env = clean | dict(re.findall(r"^export (\w+)=(.*)$", exports.read_text(), flags=re.MULTILINE))
        env |= {"REPLYHOOK_API_KEYS": KEY, "REPLYHOOK_PORT": str(receiver_port)}
        with running("serve", env=env, cwd=tmp_path, output=tmp_path / "serve.log") as receiver:
            wait_for(f"http://127.0.0.1:{receiver_port}/readyz", receiver)
            env |= {"REPLYHOOK_API_KEY": KEY, "REPLYHOOK_RECEIVER_URL": f"http://127.0.0.1:{receiver_port}"}
            for mark in ("quickstart.py", "choosing"):
                program = example(mark).replace(":9100/", f":{sandbox_port}/")
                done = subprocess.run(
                    [sys.executable, "-c", program],
                    env=env,
                    cwd=tmp_path,
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                )
                assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["fal: $0.175", "segmind: $0.375 to $1.00"]
    assert lines[-1] == "fal has it; left were []"
    assert sum("price not published" in line for line in lines) == 3
    assert (tmp_path / "out.mp4").read_bytes()[4:8] == b"ftyp"
    log = (tmp_path / "serve.log").read_text()
    assert "PUT /v1/jobs/{id} 200" in log  # callbacks that were taken are in the database; they are logged at debug
    assert KEY not in log
    assert not re.search(r"/callbacks/\w+/[^{]", log), "a token stands in the log"
    assert receiver.returncode == 130
    assert "Traceback" not in log


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
