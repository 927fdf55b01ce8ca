"""The dashboard where the receiver is mounted under a prefix: every link and cookie stays there."""

import re
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.receiver.support import PUBLIC_URL, a_host, a_receiver
from tests.receiver.web.dashboard.visiting import Visitor, csrf_in

HERE = re.compile(r'(?:href|src|action|hx-get|poster|hx-sse:connect)="([^"]*)"')


async def test_every_link_form_and_cookie_stays_under_the_prefix(tmp_path: Path) -> None:
    async with a_host() as host, a_receiver(tmp_path, host) as receiver:
        job, _ = await receiver.register(reference="mine")
        parent = Starlette(routes=[Mount("/hooks", app=receiver.app)])
        transport = httpx.ASGITransport(parent, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL) as client:
            visitor = Visitor(client)
            led = await visitor.get("/hooks/jobs")
            assert led.headers["location"] == "/hooks/sign-in?next=%2Fjobs"
            page = await visitor.get(led.headers["location"])
            fields = {"csrf": csrf_in(page), "key": "rhk_geheim-0123456789-0123456789", "next": "/jobs"}
            entered = await visitor.post("/hooks/sign-in", fields)
            assert entered.headers["location"] == "/hooks/jobs"
            cookies = [each for each in entered.headers.get_list("set-cookie") if each.startswith("replyhook=")]
            assert "Path=/hooks" in cookies[0]
            lists = ("/callbacks", "/deliveries", "/endpoints", "/providers", "/settings")
            paths = ("/", "/jobs", f"/jobs/{job}", *lists, "/jobs/none")
            pages = [await visitor.get(f"/hooks{path}") for path in paths]
            held = await visitor.post("/hooks/settings/hold", {"csrf": csrf_in(pages[0])})
            loaded = [
                (await visitor.get(path)).status_code for path in set(HERE.findall(page.text)) if "static" in path
            ]
    assert [each.status_code for each in pages] == [*([200] * 8), 404]
    assert held.headers["location"] == "/hooks/settings"
    links = [link for each in [page, *pages] for link in HERE.findall(each.text) if not link.startswith("#")]
    assert len(links) > 30
    assert [link for link in links if not link.startswith("/hooks/")] == []
    assert loaded
    assert set(loaded) == {200}
    assert f"/hooks/jobs/{job}" in pages[1].text
