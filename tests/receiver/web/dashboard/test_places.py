"""*Endpoints*: a secret is shown once and never again; each button does its one thing, and is noted."""

import re

import httpx

from tests.receiver.support import AUTH, Host, Receiver, says
from tests.receiver.web.dashboard.visiting import Visitor, a_visitor

HOSTILE = '"><script>alert(1)</script>'


def secret_in(page: httpx.Response) -> str:
    found = re.findall(r"whsec_[A-Za-z0-9+/=]{20,}", page.text)
    assert len(found) == 1, page.text
    return str(found[0])


async def an_endpoint(visitor: Visitor, url: str, **fields: str) -> tuple[str, httpx.Response]:
    """One that was added by the form: its id, and the page that its secret stands on."""
    page = await visitor.post("/endpoints", {"csrf": await visitor.csrf(), "url": url, **fields})
    assert page.status_code == 200, page.text
    found = re.search(r"ep_\w{26}", page.text)
    assert found
    return found[0], page


async def test_an_added_endpoints_secret_is_shown_once_and_kept_out_of_cookies_and_audit(
    receiver: Receiver, host: Host
) -> None:
    async with a_visitor(receiver) as visitor:
        added, page = await an_endpoint(visitor, host.will("/hook", says(204)), name=HOSTILE, types="job.failed")
        secret = secret_in(page)
        again, listed = await visitor.get(f"/endpoints/{added}"), await visitor.get("/endpoints")
        assert secret not in again.text + listed.text
        assert "whsec_" not in str(dict(visitor.client.cookies)) + str(page.headers)
        assert "job.failed" in again.text
        assert "<script>alert" not in page.text + again.text + listed.text
        assert "&lt;script&gt;alert(1)" in listed.text
    noted = receiver.rows("SELECT action, thing_id, outcome, detail FROM audit")
    assert [row[:3] for row in noted] == [("add", added, "done")]
    assert "whsec_" not in str(noted)


async def test_what_cannot_be_added_is_said_beside_the_form_with_what_was_filled_in(receiver: Receiver) -> None:
    async with a_visitor(receiver) as visitor:
        fields = {"csrf": await visitor.csrf(), "url": f"ftp://x/{HOSTILE}", "name": "kept", "types": "video.stored"}
        page = await visitor.post("/endpoints", fields)
        empty = await visitor.post("/endpoints", {"csrf": await visitor.csrf(), "url": ""})
    assert (page.status_code, empty.status_code) == (422, 422)
    assert 'value="kept"' in page.text
    assert 'value="video.stored" checked' in page.text
    assert "<script>alert" not in page.text
    assert receiver.rows("SELECT count(*) FROM endpoints") == [(0,)]
    assert receiver.rows("SELECT DISTINCT action, outcome FROM audit") == [("add", "refused")]


async def test_a_test_shows_what_was_answered_as_text(receiver: Receiver, host: Host) -> None:
    async with a_visitor(receiver) as visitor:
        added, _ = await an_endpoint(visitor, host.will("/hook", says(418, b"<script>alert(9)</script>")))
        page = await visitor.post(f"/endpoints/{added}/test", {"csrf": await visitor.csrf()})
    assert host.asked("/hook") == 1
    assert page.status_code == 200
    assert "418" in page.text
    assert "&lt;script&gt;alert(9)" in page.text
    assert "<script>alert" not in page.text


async def test_a_secret_is_rotated_and_the_new_one_shown_once(receiver: Receiver, host: Host) -> None:
    async with a_visitor(receiver) as visitor:
        added, page = await an_endpoint(visitor, host.will("/hook", says(204)))
        csrf = await visitor.csrf()
        rotated = await visitor.post(f"/endpoints/{added}/rotate-secret", {"csrf": csrf, "overlap_hours": "2"})
        assert secret_in(rotated) != secret_in(page)
        assert "whsec_" not in (await visitor.get(f"/endpoints/{added}")).text
        for wrong in ("soon", "nan", "-1", "1e400"):
            answer = await visitor.post(f"/endpoints/{added}/rotate-secret", {"csrf": csrf, "overlap_hours": wrong})
            assert "whsec_" not in answer.text
            assert answer.status_code in (303, 422), answer.text
    done = receiver.rows("SELECT outcome, count(*) FROM audit WHERE action = 'rotate secret' GROUP BY outcome")
    assert dict(done) == {"done": 1, "refused": 4}


async def test_an_endpoint_is_disabled_enabled_and_removed(receiver: Receiver, host: Host) -> None:
    async with a_visitor(receiver) as visitor:
        added, _ = await an_endpoint(visitor, host.will("/hook", says(204)))
        csrf = await visitor.csrf()
        for enabled in ("false", "true"):
            await visitor.post(f"/endpoints/{added}/change", {"csrf": csrf, "enabled": enabled})
            told = await receiver.client.get(f"/v1/endpoints/{added}", headers=AUTH)
            assert told.json()["enabled"] is (enabled == "true")
        gone = await visitor.post(f"/endpoints/{added}/remove", {"csrf": csrf})
        assert gone.headers["location"] == "/endpoints"
        assert (await visitor.get(f"/endpoints/{added}")).status_code == 404
    assert {row[0] for row in receiver.rows("SELECT action FROM audit")} == {"add", "disable", "enable", "remove"}


async def test_a_users_endpoints_are_the_users_alone_and_a_reader_has_no_buttons(
    receiver: Receiver, host: Host
) -> None:
    url = host.will("/hook", says(204))
    keys = {
        name: (await receiver.key(scope, **of))["authorization"].removeprefix("Bearer ")
        for name, scope, of in (("ann", "operate", {"user": "ann"}), ("reader", "read", {}))
    }
    async with (
        a_visitor(receiver) as operator,
        a_visitor(receiver, key=keys["ann"]) as ann,
        a_visitor(receiver, key=keys["reader"]) as reader,
    ):
        operators, _ = await an_endpoint(operator, url)
        anns, _ = await an_endpoint(ann, url)
        assert operators not in (await ann.get("/endpoints")).text
        csrf = await ann.csrf()
        for path in ("", "/test", "/change", "/remove", "/rotate-secret"):
            asked = f"/endpoints/{operators}{path}"
            answer = await (ann.post(asked, {"csrf": csrf}) if path else ann.get(asked))
            assert answer.status_code == 404, path
        page, listed = await reader.get(f"/endpoints/{anns}"), await reader.get("/endpoints")
        assert page.status_code == 200
        assert page.text.count("<form") == listed.text.count("<form") == 2, "searching and signing out alone"
    assert (await receiver.client.get(f"/v1/endpoints/{anns}", headers=AUTH)).json()["user"] == "ann"
    assert host.asked("/hook") == 0
