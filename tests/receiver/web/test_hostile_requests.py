"""What no caller should send: never a 5xx, always a problem, and nothing of it is kept."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replyhook.ids import new_id
from replyhook_receiver.web.route_scopes import RULES
from tests.receiver.support import AUTH, Receiver

WITH_BODY = sorted(route for route in RULES if route.split()[0] in ("POST", "PUT", "PATCH") and "hold" not in route)
BODIES: dict[str, bytes] = {
    "10 MB": b'{"request": "' + b"x" * 10_000_000 + b'"}',
    "deep lists": b'{"request": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "deep objects": b'{"provider": "fal", "request": {"options": ' + b'{"a":' * 600 + b"1" + b"}" * 600 + b"}}",
    "half a surrogate pair": b'{"provider": "fal", "reference": "\\ud800"}',
    "NUL": b'{"provider": "fal", "reference": "a\\u0000b", "user": "\\u0000", "name": "\\u0000", "error": "\\u0000"}',
    "not a number": b'{"provider": "fal", "request": {"seed": NaN}, "overlap_hours": Infinity}',
    "a number that no 64 bits hold": b'{"provider": "fal", "request": {"seed": ' + b"9" * 400 + b"}}",
    "a float without end": b'{"provider": "fal", "request": {"seed": 1e999}, "overlap_hours": 1e999}',
    "twice": b'{"provider": "fal", "provider": 7}',
    "UTF-16": '{"provider": "fal"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "latin-1": b'{"provider": "caf\xe9"}',
    "two values": b"{}{}",
    "a comment": b"{} // yes",
}
IDS = (
    "job_x",
    "%00",
    "%ff",
    "..%2f..%2fetc",
    "%0d%0aset-cookie:a",
    "x" * 5000,
    "'; DROP TABLE jobs; --",
    "\U0001d541",
    "%F0%9F",
)


def is_told(answer: httpx.Response) -> bool:
    """Whether it is an answer that says what is wrong, or one that takes it."""
    assert answer.status_code < 500, (answer.status_code, answer.text[:300])
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json", answer.text[:300]
        told = answer.json()
        assert told["status"] == answer.status_code
        assert len(answer.content) < 4_000
    return True


@pytest.mark.parametrize("route", WITH_BODY)
async def test_no_body_is_a_fault_of_ours(receiver: Receiver, route: str) -> None:
    job, _ = await receiver.register("useapi")
    method, template = route.split()
    for name, body in BODIES.items():
        path = template.replace("{id}", job)
        answer = await receiver.client.request(method, path, content=body, headers=AUTH)
        assert is_told(answer), name
        assert answer.status_code != 200 or template.endswith(("reply-url", "cancel")) or name in ("twice",), (
            name,
            answer.text,
        )


@pytest.mark.parametrize("route", sorted(route for route in RULES if "{id}" in route))
async def test_no_id_is_a_fault_of_ours(receiver: Receiver, route: str) -> None:
    method, template = route.split()
    for ident in IDS:
        path = template.replace("{id}", ident)
        body: Any = None if method in ("GET", "DELETE") else b"{}"
        assert is_told(await receiver.client.request(method, path, content=body, headers=AUTH)), ident


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@given(request=st.dictionaries(st.text(max_size=12), JSON, max_size=4))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
async def test_whatever_a_request_holds_it_is_kept_or_refused(receiver: Receiver, request: dict[str, Any]) -> None:
    content = json.dumps({"provider": "fal", "request": request}, allow_nan=False)
    answer = await receiver.client.put(f"/v1/jobs/{new_id('job')}", content=content, headers=AUTH)
    assert is_told(answer)
    if answer.status_code == 200:
        assert is_told(await receiver.client.get(f"/v1/jobs/{answer.json()['id']}", headers=AUTH))


ASKED = st.sampled_from(("status", "error", "user", "reference", "before", "limit", "created_after"))


@given(query=st.dictionaries(ASKED, st.text(max_size=30), max_size=4))
@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
async def test_whatever_a_query_holds_it_is_answered(receiver: Receiver, query: dict[str, str]) -> None:
    query = {name: value.encode("utf-8", "replace").decode() for name, value in query.items()}
    assert is_told(await receiver.client.get("/v1/jobs", params=query, headers=AUTH))


async def test_a_request_that_is_nested_deeply_is_refused_where_it_is_read(receiver: Receiver) -> None:
    for depth, status in ((30, 200), (33, 422), (900, 422)):
        content = b'{"provider": "fal", "request": {"options": ' + b"[" * depth + b"]" * depth + b"}}"
        answer = await receiver.client.put(f"/v1/jobs/{new_id('job')}", content=content, headers=AUTH)
        assert answer.status_code == status
        assert status == 200 or answer.json()["field"] == "request"
