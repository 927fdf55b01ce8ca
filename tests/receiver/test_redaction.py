"""Nothing secret is logged when things go wrong: a receiver of its own, at DEBUG, and every failure."""

import json
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from replyhook import Client, ReplyhookError
from replyhook.providers import PROVIDERS
from replyhook.tokens import TokenKeys
from replyhook_receiver.sandbox.faults import Fault
from tests import program
from tests.stage import CLEAN, KEY, Stage, a_stage, free_port

pytest.importorskip("av", reason="the sandbox makes real videos")
SIGNING, WHSEC = "signing-geheim-0123456789", "whsec_" + "Z2VoZWltLWdlaGVpbS1nZWhlaW0tZ2VoZWlt"
OF_JOBS = ["failed", "moderated", "garbage", "forged", "lost_answer", "no_result"]
OF_VIDEOS = ["expired_link", "truncated", "cut_off", "html", "foreign_host"]
WISH, WHOSE = "a secret wish", "jane.doe@example.com"
_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@contextmanager
def hostile_places() -> Iterator[str]:
    """Places that take no notification, and answer with what nobody should repeat."""

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(int(self.path.split("/")[1].partition("?")[0]))
            self.send_header("location", "https://elsewhere.example/?token=geheim-location")
            self.send_header("set-cookie", "session=geheim-cookie")
            self.end_headers()
            self.wfile.write(b"geheim-answer")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its base class has it
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def cli(stage: Stage, *arguments: str) -> str:
    done = program.run(*arguments, env=stage.env)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def call(stage: Stage, path: str, body: bytes | None = None, **headers: str) -> bytes:
    """Whatever comes of it."""
    try:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        with urlopen(Request(stage.receiver_url + path, body, given), timeout=10) as answer:  # noqa: S310 - loopback
            return bytes(answer.read(2000))
    except (URLError, ValueError, TimeoutError):
        return b""


def everything_fails(stage: Stage, places: str) -> list[str]:
    """Jobs of all providers that fail in every way; their ids."""
    notify: list[str | dict[str, Any]] = [
        f"{places}/{status}?token=geheim-{status}" for status in (200, 301, 401, 410, 500)
    ]
    notify.append({"url": f"http://127.0.0.1:{free_port()}/?token=geheim-dead", "headers": {"x-key": "geheim-header"}})
    jobs = []
    with Client.from_env(stage.env) as client:
        for number, fault in enumerate([*OF_VIDEOS, *OF_JOBS]):
            for provider in sorted(PROVIDERS):
                with suppress(ReplyhookError):
                    job = client.submit(
                        provider=provider, video=f"{stage.source}&signature=geheim-source", duration=5, quality="360p",
                        prompt=f"{WISH} [[fault:{fault}]]", user=WHOSE, reply_ref="geheim-reference",
                        notify=notify if number % 5 == 0 else [],
                    )  # fmt: skip
                    jobs.append(job.id)
        for refusal in ("401", "402", "429", "500"):
            with suppress(ReplyhookError):
                client.submit(provider="fal", video=stage.source, prompt=f"{WISH} [[refuse:{refusal}]]", patience=0)
    return jobs


def keys_and_endpoints(stage: Stage, places: str) -> list[str]:
    """What is shown once, and what holds secrets; all of them."""
    made = cli(stage, "keys", "create", "--scope", "operate")
    cli(stage, "keys", "create", "--scope", "nonsense")
    added = cli(stage, "endpoints", "add", f"{places}/500?token=geheim-standing", "--header", "x-key=geheim-pair")
    endpoint = cli(stage, "endpoints", "list", "-o", "id").split()[0]
    rotated = cli(stage, "endpoints", "rotate-secret", endpoint)
    cli(stage, "endpoints", "test", endpoint)
    cli(stage, "endpoints", "add", f"{places}/?user:geheim-bad@x y", "--channel", "webhook")
    cli(stage, "endpoints", "add", "tgram://geheim-bot/geheim-chat")
    shown = re.findall(r"(?:rhk|whsec)_[\w+/=-]{20,}", made + added + rotated)
    assert len(shown) >= 3
    return shown


def wrong_requests(stage: Stage, link: str, key: str) -> list[str]:
    """Links and tokens, right and wrong; what is secret of them."""
    streamed = json.loads(
        call(stage, "/v1/stream/links", b"{}", authorization=f"Bearer {KEY}", **{"content-type": "application/json"})
    )["url"]
    stream = urlsplit(streamed).path.rpartition("/")[2]
    call(stage, f"/videos/{link}")
    call(stage, f"/videos/{link}x")
    call(stage, f"/videos/{link}/poster", range="bytes=geheim-range")
    call(stage, f"/streams/{stream}x")
    call(stage, f"/callbacks/fal/{link}", b"geheim-body")
    call(stage, f"/callbacks/geheim-provider/{link}", b"x")
    call(stage, "/v1/jobs?user=geheim-user", authorization=f"Bearer {KEY}x-geheim-key")
    call(stage, f"/v1/jobs/{key}", authorization=f"Bearer {key}")
    call(stage, "/v1/jobs", b'{"geheim-field": ', authorization=f"Bearer {KEY}", idempotency_key="geheim-idempotency")
    return [stream]


def of_the_database(stage: Stage) -> list[str]:
    """What is secret of what is kept."""
    (database,) = stage.folder.rglob("replyhook.db")
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as raw:
        links = [row[0] for row in raw.execute("SELECT url FROM assets WHERE url LIKE 'http%'")]
        secrets = [row[0] for row in raw.execute("SELECT secret FROM endpoints WHERE secret IS NOT NULL")]
        personal = [row[0] for row in raw.execute("SELECT provider_job_id FROM jobs WHERE provider = 'useapi'")]
        jobs = list(raw.execute("SELECT provider, id FROM jobs"))
    tokens = [TokenKeys((SIGNING,)).mint(provider=provider, job_id=job, now=_LONG_AGO)[:40] for provider, job in jobs]
    assert links
    paths = [urlsplit(link).path for link in links if len(urlsplit(link).path) > 10]
    return [*paths, *secrets, *filter(None, personal), *tokens]


def test_nothing_secret_is_in_the_logs_of_a_run_in_which_everything_fails_at_debug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {*OF_JOBS, *OF_VIDEOS} <= {fault.value for fault in Fault}
    monkeypatch.setitem(CLEAN, "OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setitem(CLEAN, "OTEL_EXPORTER_OTLP_HEADERS", "authorization=geheim-collector")
    monkeypatch.setitem(CLEAN, "OTEL_BSP_SCHEDULE_DELAY", "500")
    told = {"signing_keys": SIGNING, "notification_secrets": WHSEC, "log_level": "debug", "log_format": "json"}
    with a_stage(tmp_path, speed=60, tracing="true", **told) as stage, hostile_places() as places:
        given = [value for name, value in stage.env.items() if re.search("KEY|TOKEN|SECRET", name) and len(value) > 6]
        shown = keys_and_endpoints(stage, places)
        with Client.from_env(stage.env) as client:
            job = client.submit(provider="fal", video=stage.source, prompt=WISH, quality="540p")
            job.wait(timeout=60)
            link = urlsplit(str(job.result().video.url)).path.rpartition("/")[2]
        jobs = everything_fails(stage, places)
        shown += wrong_requests(stage, link, shown[0])
        log = tmp_path / "serve.log"
        for words in ("notify of .* is given up", "notify of .* is tried again", "download of .* is tried again"):
            _eventually(lambda words=words: re.search(words, log.read_text()))  # type: ignore[misc] # one of the words
        _eventually(lambda: not _under_way(stage))
        found = [SIGNING, WHSEC, KEY, link, WISH, WHOSE, "geheim", *given, *shown, *of_the_database(stage)]
    written = log.read_text()
    assert len(jobs) >= len(OF_JOBS)
    levels = {json.loads(line)["level"] for line in written.splitlines() if line.startswith("{")}
    assert {"debug", "info", "warning"} <= levels
    assert sorted({secret for secret in found if len(secret) > 5 and secret in written}) == []


def _under_way(stage: Stage) -> int:
    """How many jobs that were called back have a video that nobody has tried to fetch."""
    (database,) = stage.folder.rglob("replyhook.db")
    statement = "SELECT count(*) FROM tasks WHERE kind = 'download' AND attempts = 0 AND state <> 'done'"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as raw:
        return int(raw.execute(statement).fetchone()[0])


def _eventually(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 40
    while not is_so():
        assert time.monotonic() < deadline, "it never came to be so"
        time.sleep(0.1)
