"""A disk without room for videos: callbacks are still taken, readiness says it, and nothing is lost."""

from pathlib import Path

import pytest

from replyhook_receiver.storage.local import LocalStorage
from tests.receiver.support import AUTH, Host, a_receiver, says, until, useapi_body


async def test_callbacks_are_taken_and_readiness_says_what_waits(
    tmp_path: Path, host: Host, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 10**9
    monkeypatch.setattr(LocalStorage, "free_bytes", lambda _: free)
    link = host.will("/one.mp4", says(200, clip))
    async with a_receiver(tmp_path, host, min_free_disk_bytes=2 * 10**9) as receiver:
        job, path = await receiver.register()
        body = useapi_body(job, "COMPLETED", video_id="v-1", url=link)
        assert (await receiver.client.post(path, content=body)).text == "ok"

        async def says_low() -> bool:
            response = await receiver.client.get("/readyz")
            assert response.status_code == 200
            return response.json()["downloads"] == "low_disk"

        await until(says_low)
        assert (await receiver.job(job))["video"]["status"] == "pending"
        assert host.asked("/one.mp4") == 0
        shown = (await receiver.client.get("/v1/downloads", headers=AUTH)).json()
        assert (shown["state"], shown["waiting"], shown["expiring"]) == ("low_disk", 1, 0)
        assert (await receiver.client.get("/v1/downloads")).status_code == 401
        free = 3 * 10**9
        await receiver.eventually(job, lambda shown: shown["video"]["status"] == "stored")
        assert (await receiver.client.get("/readyz")).json()["downloads"] == "ok"
        shown = (await receiver.client.get("/v1/downloads", headers=AUTH)).json()
        assert shown == {"state": "ok", "problem": None, "waiting": 0, "expiring": 0, "next_link_ends_at": None}
