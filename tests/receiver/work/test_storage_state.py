"""What is said of a place for videos that takes none: once when it begins, once when it is over."""

import logging
from pathlib import Path

import pytest

from replyhook_receiver.errors import StorageTrouble
from replyhook_receiver.storage.part import Part
from tests.contracts.store.material import succeeded
from tests.receiver.support import Host, says, until
from tests.receiver.work.bench import a_bench


async def test_it_is_said_once_and_is_over_with_the_next_video_that_is_stored(
    tmp_path: Path, host: Host, clip: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keep = Part.keep
    refusals = 0

    async def refuses_twice(part: Part) -> str:
        nonlocal refusals
        refusals += 1
        if refusals <= 2:
            raise StorageTrouble("the object store could not take the video (PermissionDenied, HTTP 403)")
        return await keep(part)

    monkeypatch.setattr(Part, "keep", refuses_twice)
    async with a_bench(tmp_path, host) as bench:
        assert (bench.queue.state, bench.queue.problem) == ("ok", None)
        job = await bench.job(provider_job_id=None)
        with caplog.at_level(logging.WARNING):
            await bench.hears(job, succeeded(host.will("/one.mp4", says(200, clip)), None))
            await until(lambda: bench.queue.state == "storage_trouble")
            assert "HTTP 403" in (bench.queue.problem or "")
            await bench.at_rest()
        assert (bench.queue.state, bench.queue.problem) == ("ok", None)
    said = [record.levelname for record in caplog.records if record.name.endswith("storage_state")]
    assert said == ["ERROR", "WARNING"]
