"""The logs: JSON lines with ids, and a whole run over all providers in which nothing secret is ever logged."""

import io
import json
import logging
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

import pytest

from replyhook import Client
from replyhook.providers import PROVIDERS
from replyhook.tokens import TokenKeys
from replyhook_receiver import logs
from replyhook_receiver.told import whole_body
from tests.receiver.support import AUTH, Receiver
from tests.stage import KEY, Stage, a_stage


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logs.handler("auto", stream)
    log = logging.getLogger("replyhook")
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    yield stream
    log.removeHandler(handler)
    log.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_is_one_line_whatever_it_says(written: io.StringIO) -> None:
    with logs.about(job_id="job_1"), logs.about(task="download"):
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logging.getLogger("replyhook.some").exception("hostile\n{\u2028\x1b[2J}")
    (line,) = lines(written)
    assert line["message"] == "hostile\n{\u2028\x1b[2J}"
    assert (line["level"], line["job_id"], line["task"]) == ("error", "job_1", "download")
    assert "ValueError: two\nlines" in line["exception"]
    assert written.getvalue().isascii()


async def test_requests_are_logged_with_their_id_and_template_and_answered_with_it(
    receiver: Receiver, written: io.StringIO
) -> None:
    job, _ = await receiver.register()
    ours = await receiver.client.get(f"/v1/jobs/{job}", headers=AUTH | {"x-request-id": "trace-0123456789"})
    assert ours.headers["x-request-id"] == "trace-0123456789"
    line = lines(written)[-1]
    assert (line["request_id"], line["job_id"], line["route"]) == ("trace-0123456789", job, "/v1/jobs/{id}")
    assert (line["status"], line["method"]) == (200, "GET")
    for hostile in ("short", "x" * 65, 'quoted"12345', "with space 12"):
        answer = await receiver.client.get("/v1/nowhere", headers={"x-request-id": hostile})
        assert answer.headers["x-request-id"].startswith("req_")
        assert lines(written)[-1]["route"] == "(no such route)"
    refused = await receiver.client.get("/v1/jobs")
    assert (refused.status_code, refused.headers["x-request-id"][:4]) == (401, "req_")


def _told(stage: Stage, client: Client) -> dict[str, str]:
    """One job at every provider, to the end; their ids by provider."""
    jobs = {}
    for provider in sorted(PROVIDERS):
        job = client.submit(
            provider=provider,
            video=stage.source,
            prompt="a secret wish",
            duration=5,
            quality="360p",
            reply_ref=f"order-{provider}",
            user="jane.doe@example.com",
        )
        jobs[provider] = job.id
        job.wait(timeout=60)
    return jobs


def _let_pixverse_call(stage: Stage, signing: str) -> None:
    token = TokenKeys((signing,)).mint_account(provider="pixverse", account="default")
    url = f"{stage.receiver_url}/callbacks/pixverse/{token}"
    entry = json.dumps({"url": url, "secret": "sandbox-webhook-secret", "webhook_id": "1"}).encode()
    headers = {"content-type": "application/json"}
    with urlopen(Request(f"{stage.sandbox_url}/_sandbox/pixverse/webhooks", entry, headers)):  # noqa: S310 - loopback
        pass


def _asked(stage: Stage, path: str) -> None:
    """Ask for something that is wrong, with a key or without: only what is logged of it is of interest."""
    request = Request(stage.receiver_url + path, headers={"authorization": f"Bearer {KEY}"})  # noqa: S310 - loopback
    try:
        with urlopen(request) as answer:  # noqa: S310
            answer.read(100)
    except OSError:
        return


def test_nothing_secret_is_in_the_logs_of_a_whole_run_over_all_providers_at_debug(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="the sandbox makes real videos")
    signing, whsec = "signing-geheim-0123456789", "whsec_" + "Z2VoZWltLWdlaGVpbS1nZWhlaW0tZ2VoZWlt"
    told = {"signing_keys": signing, "notification_secrets": whsec, "log_level": "debug", "log_format": "json"}
    with a_stage(tmp_path, **told) as stage:
        names = [name for name in stage.env if name.startswith(("REPLYHOOK_", "FAL_")) and "KEY" in name]
        _let_pixverse_call(stage, signing)
        with Client.from_env(stage.env) as client:
            jobs = _told(stage, client)
        (database,) = tmp_path.rglob("replyhook.db")
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as raw:
            links = [row[0] for row in raw.execute("SELECT url FROM assets WHERE url LIKE 'http%'")]
            personal = [row[0] for row in raw.execute("SELECT provider_job_id FROM jobs WHERE provider = 'useapi'")]
            bodies = b" ".join(whole_body(row[0]) for row in raw.execute("SELECT body FROM notifications")).decode()
        ours = re.findall(r"/videos/([^\"]+)", bodies)
        for path in (f"/videos/{ours[0]}", f"/callbacks/fal/{ours[0]}", f"/v1/jobs?text={quote(links[0])}"):
            _asked(stage, path)
    written = (tmp_path / "serve.log").read_text()
    parsed = [json.loads(line) for line in written.splitlines() if line.startswith("{")]
    assert {line["level"] for line in parsed} >= {"debug", "info"}
    assert {line["job_id"] for line in parsed if line.get("task") == "download"} >= set(jobs.values())
    secrets = [signing, whsec, KEY, *(stage.env[name] for name in names), *personal, *ours, *_tokens(signing, jobs)]
    secrets += [urlsplit(link).path + "?" + urlsplit(link).query for link in links if urlsplit(link).query]
    secrets += [urlsplit(link).path for link in links]
    secrets += ["jane.doe@example.com", "a secret wish", "sandbox-webhook-secret"]
    assert len(links) >= len(PROVIDERS) - 1
    assert personal
    assert [secret for secret in secrets if secret and len(secret) > 4 and secret in written] == []


def _tokens(key: str, jobs: dict[str, str]) -> list[str]:
    """What every reply URL's token of these jobs begins with, whenever it was made."""
    keys, now = TokenKeys((key,)), datetime.now(UTC)
    found = []
    for provider, job in jobs.items():
        one, two = (keys.mint(provider=provider, job_id=job, now=now - timedelta(days=days)) for days in (0, 300))
        same = next(place for place, (a, b) in enumerate(zip(one, two, strict=False)) if a != b)
        assert same > 30
        found.append(one[:same])
    return found
