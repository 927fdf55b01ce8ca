"""The job API: register, report the submit, look, take the video."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from replyhook.errors import ConfigurationError
from replyhook.ids import new_id
from replyhook_receiver.net import Door
from replyhook_receiver.web.app import create_app
from tests.receiver.support import (
    API_KEY,
    AUTH,
    PERSONAL_ID,
    PUBLIC_URL,
    SECRETS,
    TOKENS,
    WHSEC,
    Receiver,
    callback_path,
    settings_for,
    useapi_body,
)

JOB = "job_06gzv450ms5sr0bq1v26sekk1e"
CONTENTS = {
    "provider": "fal",
    "reference": "order-42",
    "user": "u_7",
    "notify": [{"url": "http://127.0.0.1:9/hooks", "secret": WHSEC, "types": ["video.stored"]}],
    "request": {"prompt": "on", "options": {"a": 1, "b": 2}},
}
ENDPOINTS = [
    ("PUT", f"/v1/jobs/{JOB}"),
    ("GET", f"/v1/jobs/{JOB}"),
    ("POST", f"/v1/jobs/{JOB}/submission"),
    ("GET", f"/v1/jobs/{JOB}/video"),
    ("GET", "/v1/jobs"),
    ("GET", "/v1/callbacks"),
    ("GET", "/v1/refusals"),
    ("GET", "/v1/stream"),
    ("GET", "/v1/deliveries"),
    ("GET", "/v1/deliveries/dlv_1"),
    ("POST", "/v1/deliveries/dlv_1/retry"),
    ("POST", "/v1/deliveries/retry"),
]


async def put(receiver: Receiver, content: Any, job_id: str = JOB) -> httpx.Response:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return await receiver.client.put(f"/v1/jobs/{job_id}", content=body, headers=AUTH)


async def report(receiver: Receiver, content: Any, job_id: str = JOB) -> httpx.Response:
    return await receiver.client.post(f"/v1/jobs/{job_id}/submission", json=content, headers=AUTH)


def is_problem(response: httpx.Response, status: int, **members: Any) -> bool:
    """Whether it is an RFC 9457 answer with these members."""
    content = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, content["status"]) == (status, status), content
    assert content["title"]
    assert content["detail"]
    return {name: content.get(name) for name in members} == members


# Who may call


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
async def test_without_a_valid_key_every_endpoint_is_a_401_problem(receiver: Receiver, method: str, path: str) -> None:
    wrong = [
        None, "", API_KEY, f"Bearer {API_KEY}x", f"Bearer {API_KEY[:-1]}", f"Basic {API_KEY}", "Bearer", "Bearer ",
        f"Bearer {API_KEY} {API_KEY}", "Bearer \xff\xe9", f"Bearer {API_KEY.upper()}", f"Token {API_KEY}", "Bearer  ",
    ]  # fmt: skip
    for value in wrong:
        headers = {} if value is None else {"authorization": value.encode("latin-1")}
        response = await receiver.client.request(method, path, headers=headers, content=b"\xff")
        assert is_problem(response, 401), value
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert API_KEY not in response.text
    assert receiver.rows("SELECT count(*) FROM jobs") == [(0,)]


async def test_any_of_several_keys_is_valid_and_the_scheme_is_read_in_any_case(receiver: Receiver) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        response = await receiver.client.get("/v1/refusals", headers={"authorization": f"{scheme} {API_KEY}"})
        assert response.status_code == 200


async def test_health_needs_no_key(receiver: Receiver) -> None:
    assert (await receiver.client.get("/healthz")).json() == {"ok": True}
    ready = await receiver.client.get("/readyz")
    assert (ready.status_code, ready.json()["ok"]) == (200, True)


async def test_what_is_not_there_is_a_problem_too(receiver: Receiver) -> None:
    assert is_problem(await receiver.client.get("/v1/nothing", headers=AUTH), 404)
    assert is_problem(await receiver.client.delete(f"/v1/jobs/{JOB}", headers=AUTH), 405)


# Registration


async def test_a_registered_job_is_answered_with_a_reply_url_that_works(receiver: Receiver) -> None:
    response = await put(receiver, CONTENTS)
    assert response.status_code == 200
    shown = response.json()
    assert shown["reply_url"].startswith(f"{PUBLIC_URL}/callbacks/fal/")
    token = TOKENS.read(shown["reply_url"].rpartition("/")[2], provider="fal")
    assert (token.job_id, token.provider) == (JOB, "fal")
    assert (shown["id"], shown["reference"], shown["user"], shown["status"]) == (JOB, "order-42", "u_7", "created")
    assert "reply_url" not in await receiver.job(JOB)
    assert WHSEC not in response.text


async def test_the_same_registration_is_always_answered_the_same(receiver: Receiver) -> None:
    first = (await put(receiver, CONTENTS)).json()
    receiver.clock.move(hours=5)
    turned = {name: CONTENTS[name] for name in reversed(CONTENTS)}
    assert (await put(receiver, turned)).json() == first


async def test_the_same_reply_url_is_given_after_a_callback_came_first(receiver: Receiver) -> None:
    assert (await receiver.client.post(callback_path("fal", JOB), content=b"{}")).status_code == 401
    await receiver.client.post(callback_path("useapi", JOB), content=useapi_body(JOB))
    receiver.clock.move(seconds=90)
    first = (await put(receiver, {"provider": "useapi"})).json()
    assert first["status"] == "running"
    receiver.clock.move(seconds=90)
    assert (await put(receiver, {"provider": "useapi"})).json() == first


@pytest.mark.parametrize(
    "change", [{"reference": "order-43"}, {"user": None}, {"notify": []}, {"request": {}}, {"provider": "useapi"}]
)
async def test_the_same_job_with_other_contents_is_a_409(receiver: Receiver, change: dict[str, Any]) -> None:
    first = (await put(receiver, CONTENTS)).json()
    assert is_problem(await put(receiver, CONTENTS | change), 409)
    assert (await put(receiver, CONTENTS)).json() == first


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"provider": "nobody"}, "provider"), ({"user": ""}, "user"), ({"user": "x" * 257}, "user"),
        ({"reference": ""}, "reference"), ({"reference": "x" * 1025}, "reference"),
        ({"reference": "a\nb"}, "reference"),
        ({"notify": [{"url": "http://127.0.0.1/" + "x" * 2048}]}, "notify"),
        ({"notify": [{"url": "http://127.0.0.1/ x"}]}, "notify"),
        ({"notify": [{"url": "http://127.0.0.1/\x00"}]}, "notify"),
        ({"notify": [{"url": "http://127.0.0.1/"}] * 21}, "notify"),
        ({"notify": [{"url": "http://127.0.0.1/", "types": ["job.nothing"]}]}, "notify.types"),
        ({"notify": [{"url": "http://127.0.0.1/", "secret": "geheim"}]}, "notify.secret"),
        ({"notify": [{"url": "http://127.0.0.1/", "secret": "whsec_Z2VoZWlt"}]}, "notify.secret"),
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
async def test_what_cannot_be_registered_is_a_422_that_names_the_field(
    receiver: Receiver, change: dict[str, Any], field: str
) -> None:
    response = await put(receiver, CONTENTS | change)
    assert is_problem(response, 422, field=field)
    assert response.json()["allowed"]
    assert "geheim" not in response.text
    assert "Z2VoZWlt" not in response.text
    assert receiver.rows("SELECT count(*) FROM jobs") == [(0,)]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (CONTENTS | {"prompt": "on"}, "prompt"),
        (CONTENTS | {"notify": [{"url": "https://x.example", "uri": 1}]}, "uri"),
        (CONTENTS | {"notify": [{}]}, "url"),
        (CONTENTS | {"notify": "https://x.example"}, "notify"),
        (CONTENTS | {"user": 7}, "user"),
        (CONTENTS | {"request": []}, "request"),
        ({"provider": None}, "provider"),
        ({}, "provider"),
    ],
    ids=lambda value: repr(value)[-40:],
)
async def test_unknown_missing_and_misshapen_members_are_named(receiver: Receiver, content: Any, word: str) -> None:
    response = await put(receiver, content)
    problem = response.json()
    assert is_problem(response, 422, field=problem["field"])
    assert problem["field"] == "body" or problem["detail"].startswith(problem["field"])
    assert word in problem["detail"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b"\xff", b"[" * 100_000, b'{"provider": "\\ud800"}', b'{"account": NaN}'],
    ids=lambda body: repr(body[:9]),
)
async def test_a_body_that_is_no_json_object_is_refused(receiver: Receiver, body: bytes) -> None:
    for path, method in ((f"/v1/jobs/{JOB}", "PUT"), (f"/v1/jobs/{JOB}/submission", "POST")):
        response = await receiver.client.request(method, path, content=body, headers=AUTH)
        # What begins as another thing than an object is refused for that, before the rest of it is read.
        assert is_problem(response, 400 if response.json().get("field") is None else 422)
        assert "body" in response.json()["detail"] or body[:1] == b"{"
        assert "body=" not in response.text


async def test_a_body_that_says_it_is_no_json_is_refused(receiver: Receiver) -> None:
    headers = {**AUTH, "content-type": "application/x-www-form-urlencoded"}
    response = await receiver.client.put(f"/v1/jobs/{JOB}", content=b'{"provider": "useapi"}', headers=headers)
    assert is_problem(response, 415)
    assert "content-type: application/json" in response.json()["detail"]


@pytest.mark.parametrize(
    "job_id", ["x", "job_", "job_" + "u" * 26, JOB.upper(), JOB + "0", "evt" + JOB[3:], "job_%00", "\xe9" * 9]
)
async def test_only_ids_that_the_library_makes_can_be_registered(receiver: Receiver, job_id: str) -> None:
    assert is_problem(await put(receiver, CONTENTS, job_id), 422, field="id")


async def test_a_registration_over_the_limit_is_a_413(receiver: Receiver) -> None:
    assert (await put(receiver, CONTENTS | {"request": {"prompt": "x" * 300_000}})).status_code == 413
    assert receiver.rows("SELECT count(*) FROM jobs") == [(0,)]


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1/x",
        "http://169.254.169.254/",
        "https://[::1]/",
        "http://93.184.215.14/",
        "ftp://x.example/",
        "hooks",
    ],
)
async def test_a_place_we_would_never_post_to_is_refused_before_money_is_spent(receiver: Receiver, url: str) -> None:
    response = await put(
        receiver, CONTENTS | {"notify": [{"url": "http://127.0.0.1:9/"}, {"url": f"{url}?key=geheim"}]}
    )
    assert is_problem(response, 422)
    assert "geheim" not in response.text
    assert receiver.rows("SELECT count(*) FROM jobs") == [(0,)]


async def test_places_are_looked_up_at_once_and_each_but_once(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    all_begun = asyncio.Event()

    async def check(_: Door, url: str) -> None:
        begun.append(url)
        if len(begun) == 3:
            all_begun.set()
        async with asyncio.timeout(30):
            await all_begun.wait()

    monkeypatch.setattr(Door, "check", check)
    urls = [f"http://127.0.0.1:9/{name}" for name in ("a", "b", "a", "c", "b")]
    assert (await put(receiver, CONTENTS | {"notify": [{"url": url} for url in urls]})).status_code == 200
    assert sorted(begun) == sorted(set(urls))


def test_a_public_url_too_long_for_any_provider_is_said_at_the_start_not_at_the_first_job(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, public_url="https://hooks.example.com/" + "x" * 1000)
    with pytest.raises(ConfigurationError, match="shorter"):
        create_app(settings, secrets=SECRETS)


# Submission


async def test_a_submission_is_kept_once_and_another_is_a_409(receiver: Receiver) -> None:
    await put(receiver, CONTENTS)
    accepted = {"outcome": "accepted", "provider_job_id": "r-1"}
    first = await report(receiver, accepted)
    assert (first.status_code, first.json()["status"], first.json()["provider_job_id"]) == (200, "submitted", "r-1")
    receiver.clock.move(seconds=9)
    assert (await report(receiver, accepted)).json() == first.json()
    for other in ({"outcome": "accepted", "provider_job_id": "r-2"}, {"outcome": "refused", "error": "no"}):
        assert is_problem(await report(receiver, other), 409)
    assert (await receiver.job(JOB)) == first.json()


async def test_a_submission_of_nobodys_job_is_a_404(receiver: Receiver) -> None:
    assert is_problem(await report(receiver, {"outcome": "unknown"}), 404)


async def test_another_jobs_provider_job_is_a_409_that_does_not_show_it(receiver: Receiver) -> None:
    other = new_id("job")
    for job in (JOB, other):
        await put(receiver, {"provider": "useapi"}, job)
    accepted = {"outcome": "accepted", "provider_job_id": PERSONAL_ID}
    assert (await report(receiver, accepted)).status_code == 200
    response = await report(receiver, accepted, other)
    assert is_problem(response, 409)
    assert "jane.doe" not in response.text


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"outcome": "accepted"}, "provider_job_id"),
        ({"outcome": "accepted", "provider_job_id": ""}, "provider_job_id"),
        ({"outcome": "accepted", "provider_job_id": "x" * 513}, "provider_job_id"),
        ({"outcome": "unknown", "reason": "x"}, "body"),
        ({"outcome": "refused", "error": 7}, "error"),
        ({"outcome": "done"}, "outcome"),
        ({}, "outcome"),
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
async def test_what_cannot_be_reported_is_a_422_that_names_the_field(
    receiver: Receiver, content: dict[str, Any], field: str
) -> None:
    await put(receiver, CONTENTS)
    assert is_problem(await report(receiver, content), 422, field=field)
    assert (await receiver.job(JOB))["status"] == "created"


async def test_many_submissions_at_once_are_one(receiver: Receiver) -> None:
    await put(receiver, CONTENTS)
    contents = [{"outcome": "accepted", "provider_job_id": f"r-{number % 2}"} for number in range(20)]
    answers = await asyncio.gather(*(report(receiver, content) for content in contents))
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [409] * 10


# Looking


async def test_nobodys_job_is_a_404(receiver: Receiver) -> None:
    for path in (f"/v1/jobs/{JOB}", f"/v1/jobs/{JOB}/video", "/v1/jobs/x", "/v1/stream?job=x"):
        assert is_problem(await receiver.client.get(path, headers=AUTH), 404)


async def test_a_personal_provider_id_is_never_shown(receiver: Receiver) -> None:
    job, path = await receiver.register("useapi")
    await receiver.client.post(path, content=useapi_body(job))
    await receiver.submitted(job, PERSONAL_ID)
    shown = await receiver.job(job)
    assert shown["provider_job_id"] == "(personal)"
    assert "jane.doe" not in json.dumps(shown)
    assert b"jane.doe" not in receiver.rows("SELECT body FROM notifications")[0][0]


# The list


async def test_jobs_are_listed_newest_first_page_by_page(receiver: Receiver) -> None:
    made = [(await receiver.register(reference=f"r{number % 2}"))[0] for number in range(5)]
    first = (await receiver.client.get("/v1/jobs?limit=2", headers=AUTH)).json()
    assert [job["id"] for job in first["data"]] == sorted(made)[:2:-1]
    assert first["has_more"] is True
    assert first["data"][0] == await receiver.job(max(made))
    query = f"/v1/jobs?limit=3&before={first['data'][-1]['id']}"
    rest = (await receiver.client.get(query, headers=AUTH)).json()
    assert [job["id"] for job in rest["data"]] == sorted(made)[2::-1]
    assert rest["has_more"] is False
    one = (await receiver.client.get("/v1/jobs?reference=r1&status=created&provider=useapi", headers=AUTH)).json()
    assert len(one["data"]) == 2
    assert (await receiver.client.get("/v1/jobs?user=nobody", headers=AUTH)).json()["data"] == []


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "limit=-1", "limit=\xb2", "status=done", "provider=sora", "before=1", "page=2"],
)
async def test_a_list_that_cannot_be_had_is_a_422_that_names_the_filter(receiver: Receiver, query: str) -> None:
    response = await receiver.client.get(f"/v1/jobs?{query}", headers=AUTH)
    assert is_problem(response, 422, field=query.partition("=")[0])


async def test_a_submit_that_was_passed_on_ends_its_job_without_a_word_to_anybody(receiver: Receiver) -> None:
    passed, _ = await receiver.register("fal", reference="order-42", notify=[{"url": "https://127.0.0.1:9/hook"}])
    last, _ = await receiver.register("useapi", reference="order-42")
    told = {"outcome": "refused", "error": "RateLimited: too many"}
    for _ in range(2):  # a report may be repeated
        answer = await receiver.client.post(
            f"/v1/jobs/{passed}/submission", json=told | {"passed_on": True}, headers=AUTH
        )
        assert answer.status_code == 200, answer.text
        assert (answer.json()["status"], answer.json()["error"]) == (
            "failed",
            {"code": "passed_on", "message": "RateLimited: too many"},
        )
    assert receiver.rows("SELECT count(*) FROM notifications") == [(0,)]
    await receiver.client.post(f"/v1/jobs/{last}/submission", json=told, headers=AUTH)
    assert receiver.rows("SELECT job_id, type FROM notifications") == [(last, "job.failed")]


@pytest.mark.parametrize("outcome", ["accepted", "unknown"])
async def test_only_a_refused_submit_is_passed_on(receiver: Receiver, outcome: str) -> None:
    job_id, _ = await receiver.register()
    told = {"outcome": outcome, "provider_job_id": "r-1", "passed_on": True}
    answer = await receiver.client.post(f"/v1/jobs/{job_id}/submission", json=told, headers=AUTH)
    assert (answer.status_code, answer.json()["field"]) == (422, "passed_on")
