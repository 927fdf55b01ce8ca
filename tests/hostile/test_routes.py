"""Wrong methods and paths that play tricks: found nowhere, allowed nothing, told nothing."""

from dataclasses import replace

import pytest

from tests.hostile.stranger import Good, Stranger
from tests.hostile.wire import request

JOB = "job_06gzvyj6038xt427xgy6esgkjx"
ALLOWED: dict[str, tuple[str, ...]] = {
    "/callbacks/useapi/x": ("POST",),
    "/callbacks/useapi": ("POST",),
    "/v1/jobs": ("GET", "HEAD", "POST"),
    f"/v1/jobs/{JOB}": ("PUT", "GET", "HEAD"),
    f"/v1/jobs/{JOB}/submission": ("POST",),
    f"/v1/jobs/{JOB}/video": ("GET", "HEAD"),
    f"/v1/jobs/{JOB}/timeline": ("GET", "HEAD"),
    f"/v1/jobs/{JOB}/reply-url": ("POST",),
    "/v1/callbacks": ("GET", "HEAD"),
    "/v1/callbacks/cb_06gzvyj6038xt427xgy6esgkjx": ("GET", "HEAD"),
    "/v1/callbacks/cb_06gzvyj6038xt427xgy6esgkjx/replay": ("POST",),
    "/v1/callbacks/cb_06gzvyj6038xt427xgy6esgkjx/bind": ("POST",),
    "/v1/events": ("GET", "HEAD"),
    "/v1/find": ("GET", "HEAD"),
    "/v1/refusals": ("GET", "HEAD"),
    "/v1/stream": ("GET", "HEAD"),
    "/healthz": ("GET", "HEAD"),
    "/readyz": ("GET", "HEAD"),
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "PURGE", "QUERY", "MSEARCH")


@pytest.mark.parametrize("method", METHODS)
async def test_a_method_that_a_route_has_not_is_405_and_one_it_has_needs_a_key_or_token(
    stranger: Stranger, method: str
) -> None:
    for path, allowed in ALLOWED.items():
        known = method != "MSEARCH"
        is_open = path in ("/healthz", "/readyz") and method in allowed
        wanted = 400 if not known else 200 if is_open else 401 if method in allowed else 405
        (reply,) = await stranger.is_refused(request(path, b"", method=method), status=wanted)
        if wanted == 405:
            assert set(reply.headers["allow"].replace(" ", "").split(",")) <= set(allowed)


@pytest.mark.parametrize("method", [method for method in METHODS if method not in ("POST", "MSEARCH")])
async def test_a_right_token_with_another_method_is_405_and_the_token_is_not_told(
    stranger: Stranger, method: str
) -> None:
    good = Good.useapi()
    raw = request(good.path, b"" if method == "HEAD" else good.body, good.headers, method=method)
    await stranger.is_refused(raw, status=405, hides=(good.token,))


PROVIDERS: dict[str, str] = {
    "capitals": "USEAPI",
    "mixed-case": "UseApi",
    "empty": "",
    "dots": "..",
    "escaped-dots": "%2e%2e",
    "dot": ".",
    "trailing-dot": "useapi.",
    "trailing-space": "useapi%20",
    "leading-space": "%20useapi",
    "nul": "useapi%00",
    "line-end": "useapi%0d%0aset-cookie:%20x",
    "semicolon": "useapi;x=1",
    "escaped-slash": "useapi%2fx",
    "comma": "useapi,fal",
    "backslash": "useapi%5c",
    "unknown": "nobody",
    "python-word": "__class__",
    "template": "%7Bprovider%7D",
    "full-width": "%EF%BD%95seapi",
    "cyrillic": "us%D0%B5api",
    "not-utf-8": "%FF%FE",
    "broken-escape": "useapi%zz",
    "half-escape": "useapi%2",
    "long": "u" * 5000,
    "percent": "%25",
    "sql": "useapi'--",
    "star": "*",
}


@pytest.mark.parametrize("kind", PROVIDERS)
async def test_a_provider_that_is_not_exactly_one_of_ours_is_not_found(stranger: Stranger, kind: str) -> None:
    good = Good.useapi()
    raw = replace(good, path=good.path.replace("useapi", PROVIDERS[kind], 1)).spoilt()
    # A slash is a slash, however it is written: then it is a known provider, and a wrong token.
    status = 401 if kind == "escaped-slash" else 404
    await stranger.is_refused(raw, status=status, hides=(good.token,))


TOKENS: dict[str, str] = {
    "trailing-slash": "{}/",
    "leading-slash": "/{}",
    "escaped-slash": "{}%2f",
    "escaped-slash-before": "%2F{}",
    "dots-after": "{}/..",
    "dots-before": "../useapi/{}",
    "escaped-dots": "{}/%2e%2e/{}",
    "dot": "./{}",
    "twice": "{}/{}",
    "twice-joined": "{}{}",
    "comma-joined": "{},{}",
    "semicolon": "{};x=1",
    "escaped-question": "{}%3f",
    "escaped-hash": "{}%23",
    "nul": "{}%00",
    "nul-before": "%00{}",
    "line-end": "{}%0d%0aset-cookie:%20x=1",
    "line-feed": "{}%0a",
    "space": "{}%20",
    "tab": "{}%09",
    "backslash": "{}%5c",
    "plus": "{}+",
    "equals": "{}=",
    "escaped-equals": "{}%3D",
    "quote": "%22{}%22",
    "zero-width": "{}%E2%80%8B",
    "right-to-left": "%E2%80%AE{}",
    "full-width-dot": "{}%EF%BC%8E",
    "not-utf-8": "{}%FF",
    "half-a-surrogate": "{}%ED%A0%80",
    "overlong-slash": "{}%C0%AF",
    "broken-escape": "{}%zz",
    "half-escape": "{}%",
    "escaped-twice": "{}%2525",
    "long": "{}" + "A" * 8000,
    "longer-in-front": "A" * 8000 + "{}",
    "empty": "",
    "dots-alone": "..",
    "two-dots-alone": ".",
    "star": "*",
    "template": "%7Btoken%7D",
    "format": "%25s%25n",
    "sql": "'%20or%20'1'='1",
    "none": "None",
    "unicode": "%F0%9F%8E%AC",
}


@pytest.mark.parametrize("kind", TOKENS)
async def test_a_path_with_more_or_less_than_the_token_is_not_verified(stranger: Stranger, kind: str) -> None:
    good = Good.useapi()
    path = "/callbacks/useapi/" + TOKENS[kind].replace("{}", good.token)
    (reply,) = await stranger.is_refused(replace(good, path=path).spoilt(), status=401, hides=(good.token,))
    assert set(reply.headers) == {"date", "content-length", "content-type", "connection"}


PATHS: dict[str, str] = {
    "doubled-slash": "//callbacks/useapi/{}",
    "doubled-in-the-middle": "/callbacks//useapi/{}",
    "capitals": "/Callbacks/useapi/{}",
    "dots": "/v1/../callbacks/useapi/{}",
    "escaped-dots": "/v1/%2e%2e/callbacks/useapi/{}",
    "dot": "/./callbacks/useapi/{}",
    "prefix": "/x/callbacks/useapi/{}",
    "semicolon": "/callbacks;x/useapi/{}",
    "backslashes": "/callbacks\\useapi\\{}",
    "no-token": "/callbacks/",
    "a-slash-more": "/v1/jobs/",
    "a-slash-more-and-a-query": "/healthz/?{}",
    "nul": "/%00callbacks/useapi/{}",
    "other-route": "/posters/{}",
    "no-provider": "/callbacks/{}",
}


@pytest.mark.parametrize("kind", PATHS)
async def test_a_path_that_is_only_like_ours_is_not_found(stranger: Stranger, kind: str) -> None:
    good = Good.useapi()
    raw = replace(good, path=PATHS[kind].replace("{}", good.token)).spoilt()
    (reply,) = await stranger.is_refused(raw, status=404, hides=(good.token,))
    assert "location" not in reply.headers


@pytest.mark.parametrize("path", ["/", "/?/callbacks/useapi/{}"])
async def test_the_dashboards_own_path_leads_to_signing_in_and_takes_no_callback(stranger: Stranger, path: str) -> None:
    good = Good.useapi()
    raw = replace(good, path=path.replace("{}", good.token)).spoilt()
    (reply,) = await stranger.is_refused(raw, status=405, hides=(good.token,))
    assert "location" not in reply.headers
