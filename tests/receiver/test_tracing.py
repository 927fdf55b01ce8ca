"""One trace a job: a program's, a receiver's that is killed in between, and what a collector of traces is sent."""

import gzip
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from replyhook import Client
from replyhook.ids import new_id
from replyhook.tokens import TokenKeys
from tests.receiver.support import AUTH, NOW, Host, Receiver, a_receiver, callback_path, until, useapi_body
from tests.stage import CLEAN, KEY, a_stage
from tests.test_quick_start import a_listener

pytest.importorskip("opentelemetry.sdk", reason="traces need replyhook[otel]")
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SIGNING = "signing-geheim-0123456789"


@dataclass
class Collector:
    """What was sent to it, as it came, and the spans in it."""

    url: str = ""
    raw: list[bytes] = field(default_factory=list)
    spans: list[Any] = field(default_factory=list)

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == f"replyhook {name}"]


@contextmanager
def a_collector() -> Iterator[Collector]:
    """OTLP over HTTP, as a collector takes it."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    collector = Collector()

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    collector.spans += scope.spans
            collector.raw.append(body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its base class has it
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        collector.url = f"http://127.0.0.1:{server.server_port}"
        yield collector
        server.shutdown()


def eventually(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline, "it never came to be so"
        time.sleep(0.05)


def test_a_job_is_one_trace_from_the_program_to_the_notification_over_a_killed_receiver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av", reason="the sandbox makes real videos")
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider().get_tracer("the program")
    told = {"tracing": "true", "signing_keys": SIGNING, "notification_secrets": "whsec_" + "Z2VoZWlt" * 4}
    with a_collector() as collector, a_listener() as (place, heard):
        monkeypatch.setitem(CLEAN, "OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setitem(CLEAN, "OTEL_BSP_SCHEDULE_DELAY", "50")
        with a_stage(tmp_path, speed=4, **told) as stage, Client.from_env(stage.env) as client:
            with tracer.start_as_current_span("checkout") as span:
                job = client.submit(
                    provider="fal", video=f"{stage.source}&secret=geheim", prompt="a secret wish", quality="540p",
                    reply_ref="order-7", user="jane.doe@example.com", notify=[f"{place}?token=geheim"],
                )  # fmt: skip
            eventually(lambda: collector.named("submitted"))
            stage.kill_receiver()
            stage.start_receiver()
            job.wait(timeout=60)
            eventually(lambda: any("video.stored" in body for body in heard))
            eventually(lambda: len(collector.named("notify")) >= 2)
        trace_id = span.get_span_context().trace_id.to_bytes(16, "big")
        tokens = [TokenKeys((SIGNING,)).mint(provider="fal", job_id=job.id, now=NOW)[:40]]
    by_name = {name: collector.named(name) for name in ("register", "submitted", "callback", "download", "notify")}
    assert all(by_name.values()), {name: len(found) for name, found in by_name.items()}
    assert {each.trace_id for each in collector.spans} == {trace_id}
    (register,) = by_name["register"]
    assert register.parent_span_id == span.get_span_context().span_id.to_bytes(8, "big")
    later = [each for name in ("callback", "download", "notify") for each in by_name[name]]
    assert {each.parent_span_id for each in later} == {register.span_id}
    assert all(each.start_time_unix_nano <= each.end_time_unix_nano for each in collector.spans)
    attributes = {entry.key: entry.value for entry in by_name["callback"][-1].attributes}
    assert (attributes["replyhook.trust"].string_value, attributes["replyhook.provider"].string_value) == (
        "signed",
        "fal",
    )
    sent = b"".join(collector.raw)
    secrets = [KEY, SIGNING, "geheim", "order-7", "jane.doe", "a secret wish", "://", "127.0.0.1", *tokens]
    assert [secret for secret in secrets if secret.encode() in sent] == []
    assert b"replyhook" in sent


async def test_nothing_is_kept_of_a_caller_s_trace_where_traces_are_off(receiver: Receiver) -> None:
    job = new_id("job")
    headers = AUTH | {"traceparent": TRACEPARENT}
    answer = await receiver.client.put(f"/v1/jobs/{job}", json={"provider": "useapi"}, headers=headers)
    assert answer.status_code == 200
    assert receiver.rows("SELECT * FROM traces") == []


async def test_a_job_joins_the_trace_that_named_it_first_and_leaves_with_its_row(tmp_path: Path, host: Host) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import set_tracer_provider

    set_tracer_provider(TracerProvider())
    async with a_receiver(tmp_path, host, tracing=True) as receiver:
        job, path = await receiver.register(user="u_7")
        ((_, first),) = receiver.rows("SELECT * FROM traces")
        assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]", first)
        for hostile in (TRACEPARENT, "garbage", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "x" * 5000):
            content = {"outcome": "accepted", "provider_job_id": "theirs"}
            headers = AUTH | {"traceparent": hostile}
            told = await receiver.client.post(f"/v1/jobs/{job}/submission", json=content, headers=headers)
            assert told.status_code == 200
        unknown = new_id("job")
        assert (await receiver.client.post(path, content=useapi_body(job))).status_code == 200
        late = await receiver.client.post(callback_path("useapi", unknown), content=useapi_body(unknown, video_id="v"))
        assert late.status_code == 200
        await until(lambda: len(receiver.rows("SELECT * FROM traces")) == 2)
        assert (job, first) in receiver.rows("SELECT * FROM traces")
        async for _ in receiver.app.state.store.erasing.erase("u_7", now=NOW):
            pass
        assert [row[0] for row in receiver.rows("SELECT * FROM traces")] == [unknown]


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_TRACES_EXPORTER", "zipkin")]
)
def test_an_exporter_that_there_is_none_of_ends_the_start_in_words(tmp_path: Path, name: str, value: str) -> None:
    command = [sys.executable, "-m", "replyhook_receiver", "serve", "--port", "0"]
    env = CLEAN | {"REPLYHOOK_TRACING": "true", name: value}
    ended = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 4
    assert name in ended.stderr
    assert "Traceback" not in ended.stderr
