"""`kill -9` at any moment of a download, with links that misbehave: every video is stored whole, nothing else is."""

import asyncio
import hashlib
import random
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.faulty_media import FaultyMedia
from tests.faults.harness import a_server
from tests.faults.providers import Providers
from tests.receiver.support import until


@dataclass(frozen=True, kw_only=True)
class Form:
    """How much is done."""

    kills: int
    jobs: int
    rest_seconds: float
    prints: bool = False


SHORT = Form(kills=6, jobs=24, rest_seconds=60)
LONG = Form(kills=40, jobs=200, rest_seconds=300, prints=True)


@pytest.fixture
def form(request: pytest.FixtureRequest) -> Form:
    return LONG if request.config.getoption("--long-faults") else SHORT


async def test_every_video_is_stored_whole_however_often_its_download_is_killed(
    tmp_path: Path, providers: Providers, form: Form, capfd: pytest.CaptureFixture[str]
) -> None:
    media, started = FaultyMedia(host=providers.host, clip=providers.clip), time.monotonic()
    reports = [media.a_job() for _ in range(form.jobs)]
    settings = providers.settings | {
        "PROVIDERS__USEAPI__BASE_URL": f"{providers.host.url}/useapi",
        "PROVIDERS__USEAPI__API_KEY": "fault-provider-key",
    }
    for kill in range(form.kills):
        async with a_server(tmp_path, changed="quick-downloads", **settings) as server, server.client() as client:
            share = -(-form.jobs // max(form.kills // 2, 1))  # all are told in the first half of the kills
            told = reports[kill * share : (kill + 1) * share]
            assert {await providers.send(client, report) for report in told} <= {200}
            served = media.answers.total()
            await until(lambda then=served: media.answers.total() > then or not has_work(tmp_path))  # type: ignore[misc]
            await asyncio.sleep(random.uniform(0, 0.6))
            await server.kill()
    media.calm = True
    async with a_server(tmp_path, changed="quick-downloads", **settings) as server:
        await until(lambda: not has_work(tmp_path), seconds=form.rest_seconds)
        await server.end()

    assert stored(tmp_path) == media.sha256
    left = {path.name for path in (tmp_path / "videos").rglob("*") if path.is_file()}
    assert left == {f"{job}.{kind}" for job in media.files for kind in ("mp4", "jpg")}, "something was left behind"
    for fault in ("refused", "asked for a fresh link", "cut", "resumed"):
        assert media.answers[fault] > 0, f"it never came to be {fault}"
    if form.prints:
        with capfd.disabled():
            seconds = time.monotonic() - started
            print(f"{form.kills} kills, {form.jobs} videos, {dict(media.answers)}, {seconds:.0f} s", file=sys.stderr)


def stored(data_dir: Path) -> dict[str, str]:
    """By job, the hash of the file that is there for it; what the receiver noted is the same."""
    with closing(sqlite3.connect(data_dir / "replyhook.db")) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert raw.execute("SELECT count(*) FROM notifications WHERE type = 'video.failed'").fetchone() == (0,)
        rows = raw.execute("SELECT job_id, name, sha256 FROM assets WHERE status = 'stored'").fetchall()
        twice = raw.execute(
            "SELECT job_id FROM notifications WHERE type IN ('video.stored', 'job.succeeded')"
            " GROUP BY job_id, type HAVING count(*) > 1"
        ).fetchall()
    assert twice == [], "something was announced twice"
    found = {job: hashlib.sha256((data_dir / "videos" / name).read_bytes()).hexdigest() for job, name, _ in rows}
    assert found == {job: noted for job, _, noted in rows}
    return found


def has_work(data_dir: Path) -> bool:
    """Whether a download is still to be done."""
    with closing(sqlite3.connect(f"file:{data_dir / 'replyhook.db'}?mode=ro", uri=True)) as raw:
        return raw.execute("SELECT EXISTS (SELECT 1 FROM tasks WHERE state IN ('ready', 'leased'))").fetchone()[0]
