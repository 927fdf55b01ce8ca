"""The README's examples, run as they stand there."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

import pytest
from standardwebhooks.webhooks import Webhook

from replyhook import Client, SubmitOutcomeUnknown, VerificationError
from tests.stage import CLEAN, KEY, Stage, a_stage, free_port, wait_for

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


RUN = {
    "quickstart.py", "subscribe.py", "choosing", "upload.py", "cli", "verify", "async", "bind",
    "terminal 1", "terminal 2", "terminal 3", "for real", "reply key", "look", "mended", "endpoints", "deliveries",
    "storage", "database", "keys",
}  # fmt: skip
"""The examples that are run below."""
NOT_RUN = {
    "postgres": "needs a PostgreSQL; receiver/test_two_receivers.py starts one",
    "db copy": "it stops a service; faults/test_copy.py runs the command on a receiver that was killed",
    "demo": "it installs into the clone; what it starts is run by test_demo, and the whole line by .ci/run",
    "tests": "it would run itself; .ci/run does",
    "listen": "it listens until it is stopped; receiver/cli/test_listen.py starts and stops it with these options",
}


ELSEWHERE = {
    "channel": "receiver/channels/test_registry.py",
    "doctor": "receiver/cli/test_doctor.py",
    "mounted in Starlette": "receiver/web/test_mounting.py",
    "mounted in FastAPI": "receiver/web/test_mounting.py",
}
"""Those that are run by other tests."""


def test_every_example_is_run_or_says_why_not() -> None:
    marked = re.findall(r"(?:^<!-- (.+) -->\n)?^```(?:python|sh)$", README, flags=re.MULTILINE)
    assert "" not in marked, "an example has no mark above it"
    assert set(marked) == RUN | set(NOT_RUN) | set(ELSEWHERE)
    assert len(marked) == len(set(marked))


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


def register_webhook(stage: Stage) -> None:
    """What the README's paragraph on PixVerse says, with its own line."""
    line = re.search(
        r"`(curl -X POST http://127.0.0.1:9100/_sandbox/pixverse/webhooks .*?)`\.?\)", README, flags=re.DOTALL
    )
    assert line
    shell(line[1].replace("\n", ""), stage, **stage.settings)  # it is typed where the receiver runs


def run_async_example(stage: Stage) -> str:
    """What the example's function returns."""
    call = f"import asyncio\nprint(asyncio.run(extend({stage.source!r})))\n"
    done = subprocess.run(
        [sys.executable, "-c", example("async") + call], env=stage.env, cwd=stage.folder, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def shell(program: str, stage: Stage, **env: str) -> str:
    """Run lines in a shell that has our commands; what they printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{stage.env['PATH']}"
    done = subprocess.run(
        ["bash", "-c", "set -euo pipefail\n" + program.replace("http://127.0.0.1:9100", stage.sandbox_url)],  # noqa: S607 - the one on the path
        env=stage.env | {"PATH": path} | env,
        cwd=stage.folder,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_quick_start_works_as_written(tmp_path: Path) -> None:
    with a_stage(tmp_path, speed=60) as stage:
        run("quickstart.py", stage)
        printed = run("subscribe.py", stage)
        chosen = run("choosing", stage).splitlines()
        register_webhook(stage)
        uploaded = run("upload.py", stage).splitlines()
        extended = run_async_example(stage)
        receiver = stage.receiver
    assert re.search(r"job.running \d+\n(.*\n)*video.stored .*\n7\.\d+ seconds\n(.*\n)*(\d+) of \3\n$", printed)
    assert chosen[:2] == ["fal: $0.175", "segmind: $0.375 to $1.00"]
    assert chosen[-1] == "fal has it; left were []"
    assert sum("price not published" in line for line in chosen) == 3
    size = uploaded[0].removeprefix("0 of ").removesuffix(" bytes")
    assert (int(size) > 0, uploaded[-1]) == (True, f"{size} of {size} bytes")
    assert re.fullmatch("[0-9a-f]{64}", extended)
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
        printed = shell(example("cli"), stage)
    references = [json.loads(line)["reference"] for line in printed.splitlines() if line.startswith("{")]
    assert references == ["order-46", "order-45", "order-44", "order-43"]
    assert re.search(r"^ *fal +\$0\.175 ", printed, flags=re.MULTILINE), "the estimate comes first"
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


def test_the_three_terminals_work_as_written(tmp_path: Path) -> None:
    """On other ports, as theirs may be taken; the program is the one that the README says to save."""
    sandbox, receiver = free_port(), free_port()

    def as_here(mark: str) -> str:
        text = example(mark).replace(".venv/bin/", f"{Path(sys.executable).parent}/")
        text = text.replace("replyhook sandbox", f"replyhook sandbox --port {sandbox} --speed 60")
        return text.replace("127.0.0.1:8080", f"127.0.0.1:{receiver}")

    (tmp_path / "quickstart.py").write_text(example("quickstart.py").replace("127.0.0.1:9100", f"127.0.0.1:{sandbox}"))
    env = CLEAN | {"REPLYHOOK_PORT": str(receiver)}
    with ExitStack() as stack:
        for mark, ready in (
            ("terminal 1", f"http://127.0.0.1:{sandbox}/_sandbox/calls"),
            ("terminal 2", f"http://127.0.0.1:{receiver}/readyz"),
        ):
            wait_for(ready, stack.enter_context(terminal(as_here(mark), env, tmp_path)))
        third = stack.enter_context(terminal(as_here("terminal 3"), env, tmp_path))
        assert third.wait(timeout=60) == 0
    assert (tmp_path / "out.mp4").read_bytes()[4:8] == b"ftyp"


def test_what_is_set_for_real_providers_starts_a_receiver(tmp_path: Path) -> None:
    port = free_port()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with terminal(example("for real"), CLEAN | {"REPLYHOOK_PORT": str(port), "PATH": path}, tmp_path) as serving:
        wait_for(f"http://127.0.0.1:{port}/readyz", serving)


def test_a_reply_key_made_as_written_is_one_for_client_and_receiver(tmp_path: Path) -> None:
    client = "import replyhook; print(replyhook.Client.from_env().is_detached)"
    serve = "import os; from replyhook_receiver.configuring import load; print(load(os.environ).allow_detached)"
    env = CLEAN | {"REPLYHOOK_PUBLIC_URL": "https://hooks.example.com"}
    program = f"set -eu\n{example('reply key')}\n{sys.executable} -c '{client}'\n{sys.executable} -c '{serve}'\n"
    done = subprocess.run(["bash", "-c", program], env=env, cwd=tmp_path, capture_output=True, text=True, check=True)  # noqa: S607 - the one on the path
    assert done.stdout.split() == ["True", "True"]


def test_a_job_of_unknown_outcome_is_bound_as_written(tmp_path: Path) -> None:
    with a_stage(tmp_path, speed=60) as stage, Client.from_env(stage.env) as client:
        register_webhook(stage)
        with pytest.raises(SubmitOutcomeUnknown) as caught:
            client.submit(provider="pixverse", video=stage.source, prompt="[[fault:lost_answer]]")
        job = caught.value.job
        with urlopen(f"{stage.sandbox_url}/_sandbox/jobs") as answer:  # noqa: S310 - loopback
            (there,) = json.load(answer)
        line = example("bind").replace("JOB PROVIDER_JOB_ID", f"{job.id} {there['id']}")
        shell(line, stage)
        assert job.wait(30, past_overdue=True).type == "video.stored"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """For examples that do not mind what others did there."""
    with a_stage(tmp_path_factory.mktemp("stage"), speed=60) as running:
        yield running


def test_what_happened_is_looked_into_as_written(stage: Stage) -> None:
    printed = shell(f"{example('look')}\n{example('mended')}", stage, **stage.settings)
    assert re.search(r"useapi  succeeded", printed)
    assert re.search(r"callback +applied, token_only: succeeded", printed)
    assert "duplicate: succeeded 100 %" in printed
    assert "again, under a new id" in printed


def test_endpoints_and_deliveries_work_as_written(tmp_path: Path) -> None:
    with a_stage(tmp_path, speed=60) as stage, a_listener() as (url, taken):
        place = example("endpoints").replace("https://app.example.com/hooks", url)
        printed = shell(f"{place}\nreplyhook trigger useapi.failed", stage, **stage.settings)
        deadline = time.monotonic() + 20
        while sum("job.failed" in body for body in taken) < 1:
            assert time.monotonic() < deadline, "the endpoint was not told"
            time.sleep(0.05)
        told = shell(example("deliveries"), stage, **stage.settings)
    assert re.search(r"taken", printed)
    assert "whsec_" in printed
    assert re.search(r"delivered", told)
    assert any("endpoint.test" in body for body in taken)


def test_the_database_is_looked_after_as_written(stage: Stage) -> None:
    shell(example("database"), stage)
    (copy,) = stage.folder.glob("replyhook-20*.db")
    assert copy.stat().st_size > 0


def test_keys_are_made_and_revoked_as_written(stage: Stage) -> None:
    printed = shell(f"{example('keys')}\nreplyhook keys list", stage)
    assert len(re.findall(r"^rhk_[\w-]{43}$", printed, flags=re.MULTILINE)) == 3
    assert (printed.count(" revoked "), printed.count("u_7")) == (1, 2)


def test_an_object_store_is_set_as_written(tmp_path: Path) -> None:
    serve = "import os; from replyhook_receiver.configuring import load; print(load(os.environ).storage_url)"
    env = CLEAN | {"REPLYHOOK_PUBLIC_URL": "https://hooks.example.com"}
    program = f"set -eu\n{example('storage')}\n{sys.executable} -c '{serve}'\n"
    done = subprocess.run(["bash", "-c", program], env=env, cwd=tmp_path, capture_output=True, text=True, check=True)  # noqa: S607 - the one on the path
    assert done.stdout.strip() == "s3://my-bucket/videos"


@contextmanager
def a_listener() -> Iterator[tuple[str, list[str]]]:
    """Somebody to notify: the URL, and the bodies that came there."""
    taken: list[str] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(self.rfile.read(int(self.headers["content-length"])).decode())
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its base class has it
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hooks", taken
        server.shutdown()


@contextmanager
def terminal(program: str, env: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A shell with a program in front, ended with all that it started."""
    with (folder / "terminal.log").open("ab") as log:
        process = subprocess.Popen(
            ["bash", "-c", "set -e\n" + program],  # noqa: S607 - the one on the path
            env=env,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=20)
