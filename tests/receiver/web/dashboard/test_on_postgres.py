"""The dashboard over PostgreSQL: sessions, what is noted, and every page that counts or lists."""

from pathlib import Path

import pytest

from tests.receiver.support import AUTH, Host, a_receiver, says, useapi_body
from tests.receiver.web.dashboard.visiting import a_visitor


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_every_page_is_shown_from_postgresql_too(tmp_path: Path, host: Host, postgres_url: str) -> None:
    async with a_receiver(tmp_path, host, database_url=postgres_url) as receiver, a_visitor(receiver) as visitor:
        job, path = await receiver.register(user="ann", notify=[{"url": host.will("/hook", says(204))}])
        await receiver.submitted(job, "video-1")
        assert (await receiver.client.post(path, content=useapi_body(job, "FAILED", "video-1"))).status_code == 200
        (callback,) = await receiver.callbacks(job)
        fields = {"csrf": await visitor.csrf(), "what": "state", "confirmed": "yes"}
        assert (await visitor.post(f"/callback/{callback['id']}/replay", fields)).status_code == 303
        for page in (
            "/",
            "/jobs",
            "/callbacks",
            "/deliveries",
            "/endpoints",
            "/providers",
            "/settings",
            "/search?name=no",
        ):
            assert (await visitor.get(page)).status_code == 200, page
        for asked in ("overdue=true", "expiring=true", "expiring=false", "video=lost"):
            assert (await visitor.get(f"/jobs?{asked}")).status_code == 200, asked
        assert (await visitor.get("/search?name=video-1")).headers["location"] == f"/jobs/{job}"
        assert "replay" in (await visitor.get(f"/callback/{callback['id']}")).text
        for method in ("PUT", "DELETE"):
            assert (
                await receiver.client.request(
                    method, "/v1/hold", params={"reason": "moving"} if method == "PUT" else None, headers=AUTH
                )
            ).is_success
        settings = (await visitor.get("/settings")).text
        assert all(done in settings for done in ("over the API; moving", "go on", f'href="/callback/{callback["id"]}"'))
        for page in ("/deliveries", f"/jobs/{job}"):
            assert 'href="/endpoints/ep_' in (await visitor.get(page)).text
        assert "1; 0.0 % of 1 ended well" in (await visitor.get("/providers")).text
        ended = await visitor.post("/sign-out", {"csrf": fields["csrf"]})
        assert ended.status_code == 303
        assert (await visitor.get("/jobs")).headers["location"].startswith("/sign-in")
