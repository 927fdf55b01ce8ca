"""Bodies of every kind: forged ones are nobody's, believed ones are kept byte for byte, and none of them does harm."""

import gzip
import json
import zlib
from dataclasses import replace

import pytest

from replyhook.errors import UnreadableMessage
from replyhook.ids import new_id
from replyhook.messages import read_json
from tests.hostile.stranger import Good, Stranger
from tests.receiver.support import callback_path, useapi_body

REPORT = b'{"video_status_name": "GENERATING", "video_id": "v"}'
BODIES: dict[str, bytes] = {
    "empty": b"",
    "spaces": b" \r\n\t ",
    "null": b"null",
    "true": b"true",
    "number": b"1",
    "text": b'"text"',
    "list": b"[{}]",
    "nothing-in-it": b"{}",
    "cut-off": REPORT[:-1],
    "two-of-them": REPORT * 2,
    "comma-at-the-end": REPORT.replace(b"}", b",}"),
    "comment": b"/* x */" + REPORT,
    "single-quotes": REPORT.replace(b'"', b"'"),
    "lists-10000-deep": b"[" * 10_000 + b"]" * 10_000,
    "lists-10000-deep-without-an-end": b"[" * 10_000,
    "objects-10000-deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "10000-deep-inside-a-report": REPORT[:-1] + b', "x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "nan": b'{"status": NaN, "id": NaN, "request_id": NaN}',
    "infinity": b'{"status": Infinity, "id": -Infinity}',
    "beyond-a-float": b'{"status": 1e999, "progress": -1e999}',
    "10-to-the-400": b'{"status": 1' + b"0" * 400 + b', "progress": 1' + b"0" * 400 + b"}",
    "number-of-100000-digits": b'{"status": ' + b"9" * 100_000 + b"}",
    "minus-zero": b'{"status": -0, "id": -0.0}',
    "half-a-surrogate-pair": b'{"id": "\\ud800", "video_id": "\\udfff", "request_id": "\\ud800"}',
    "surrogates-in-utf-8": b'{"id": "\xed\xa0\x80"}',
    "overlong-utf-8": b'{"id": "\xc0\xaf"}',
    "nul-inside": b'{"id": "\x00"}',
    "nul-escaped": b'{"id": "\\u0000", "video_id": "\\u0000", "video_status_name": "\\u0000"}',
    "bom": b"\xef\xbb\xbf" + REPORT,
    "utf-16": REPORT.decode().encode("utf-16"),
    "utf-32": REPORT.decode().encode("utf-32"),
    "latin-1": b'{"id": "\xe4"}',
    "names-twice": b'{"status": 1, "status": 8, "id": "1", "id": "2", "video_id": "a", "video_id": "b"}',
    "10000-names": json.dumps({str(number): number for number in range(10_000)}).encode(),
    "name-of-100000-letters": json.dumps({"x" * 100_000: 1}).encode(),
    "dunder-names": b'{"__class__": "x", "__proto__": {"a": 1}, "constructor": {}}',
    "values-of-wrong-kinds": b'{"status": [], "id": {}, "video_id": [], "video_status_name": {}, "url": 1}',
    "url-that-is-none": b'{"video_status_name": "COMPLETED", "status": "OK", "url": "https://[::1", "results": [""]}',
    "url-with-a-line-end": b'{"video_status_name": "COMPLETED", "video_id": "v", "url": "https://media.pixverse.ai/\\r\\nx"}',
    "url-of-a-file": b'{"video_status_name": "COMPLETED", "video_id": "v", "url": "file:///etc/passwd"}',
    "binary": bytes(range(256)) * 64,
    "html": b"<html><script>alert(1)</script>",
    "form": b"status=1&id=2",
    "multipart": b"--x\r\ncontent-disposition: form-data; name=a\r\n\r\n1\r\n--x--",
    "xml-bomb": b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>',
    "pickle": b"\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
}
ENCODED: dict[str, tuple[bytes, bytes]] = {
    "gzip": (b"gzip", gzip.compress(REPORT)),
    "gzip-bomb": (b"gzip", gzip.compress(b"0" * 64 * 1024 * 1024, 9)),
    "gzip-that-is-none": (b"gzip", REPORT + b" "),
    "deflate": (b"deflate", zlib.compress(REPORT)),
    "br": (b"br", b"\x0b\x19\x80" + REPORT),
    "zstd": (b"zstd", b"\x28\xb5\x2f\xfd" + REPORT),
    "gzip-twice": (b"gzip, gzip", gzip.compress(gzip.compress(REPORT))),
    "unknown": (b"rot13", REPORT[::-1]),
}


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("provider", ["fal", "pixverse"])
async def test_what_was_signed_for_another_body_is_not_verified(stranger: Stranger, provider: str, kind: str) -> None:
    good = Good.fal(stranger.served) if provider == "fal" else Good.pixverse()
    await stranger.is_refused(good.spoilt(body=BODIES[kind]), status=401, hides=(good.token, *good.hidden))


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("provider", ["useapi", "aihubmax", "fal"])
async def test_what_is_believed_is_kept_as_it_came_and_ends_no_job(
    stranger: Stranger, provider: str, kind: str
) -> None:
    """The provider's own nonsense is answered ok: sent again it would be the same nonsense."""
    body = BODIES[kind]
    if provider == "fal":
        good = Good.fal(stranger.served, body=body, request_id="v")
    else:
        good = replace(Good.useapi(), path=callback_path(provider, new_id("job")), body=body)
    if provider == "fal" and names_another(body):
        await stranger.is_refused(good.spoilt(), status=401, hides=(good.token, *good.hidden))
        return
    await is_kept(stranger, good)


def names_another(body: bytes) -> bool:
    """Whether it is an object, and so names another request than the one that fal signed beside it."""
    try:
        return isinstance(read_json(body), dict)
    except UnreadableMessage:
        return False


async def is_kept(stranger: Stranger, good: Good, headers: list[tuple[str, bytes]] | None = None) -> None:
    (reply,) = await stranger.sends(good.spoilt(headers))
    assert reply.is_ok, reply
    (row,) = stranger.served.rows("SELECT body, job_id FROM callbacks ORDER BY rowid DESC LIMIT 1")
    assert row[0] == good.body
    ((status,),) = stranger.served.rows(f"SELECT status FROM jobs WHERE id = '{row[1]}'")  # noqa: S608 - an id of ours
    assert status in ("created", "running", "queued") or b"COMPLETED" in good.body
    shown = await stranger.served.callbacks(row[1])
    assert len(shown) == 1
    await stranger.finds_it_alive()
    stranger.hears_nothing(reply.body, [good.token])


@pytest.mark.parametrize("kind", ENCODED)
async def test_a_compressed_body_is_never_unpacked(stranger: Stranger, kind: str) -> None:
    """No provider documents one; it is kept as it came, and signatures are over what came."""
    encoding, body = ENCODED[kind]
    good = replace(Good.useapi(), body=body)
    await is_kept(stranger, good, [*good.headers, ("content-encoding", encoding)])
    for signed in (Good.fal(stranger.served), Good.pixverse()):
        raw = signed.spoilt([*signed.headers, ("content-encoding", encoding)], body)
        await stranger.is_refused(raw, status=401, hides=(signed.token, *signed.hidden))


PIXVERSE_SIGNED: dict[str, tuple[bytes, str]] = {
    "nested": (b'{"id": "1", "status": {"a": 1}}', "id=1&status=%7B%27a%27%3A+1%7D"),
    "list": (b'{"id": "1", "status": [1]}', "id=1&status=%5B1%5D"),
    "names-twice": (b'{"id": "1", "status": 5, "status": 1}', "id=1&status=1"),
    "nan": (b'{"id": "1", "status": NaN}', "id=1&status=nan"),
    "10-to-the-400": (b'{"id": "1", "status": 1' + b"0" * 400 + b"}", "id=1&status=1" + "0" * 400),
    "empty-object": (b"{}", ""),
    "empty": (b"", ""),
    "utf-16": ('{"id": "1", "status": 5}'.encode("utf-16"), "id=1&status=5"),
    "the-raw-body-signed": (b'{"id": "1", "status": 5}', '{"id": "1", "status": 5}'),
    "100-fields": (json.dumps({str(n): n for n in range(100)}).encode(), "&".join(f"{n}={n}" for n in range(100))),
}


@pytest.mark.parametrize("kind", PIXVERSE_SIGNED)
async def test_pixverses_signature_over_what_has_no_one_form_is_not_verified(stranger: Stranger, kind: str) -> None:
    body, form = PIXVERSE_SIGNED[kind]
    good = Good.pixverse(body=body, form=form or "&")
    await stranger.is_refused(good.spoilt(), status=401, hides=(good.token, *good.hidden))


async def test_nothing_of_a_body_is_in_the_log(stranger: Stranger) -> None:
    job = new_id("job")
    good = replace(Good.useapi(job), body=useapi_body(job, note="geheimer Inhalt", url="https://x/?signature=geheim"))
    (reply,) = await stranger.sends(good.spoilt())
    assert reply.is_ok
    await stranger.finds_it_alive()
    stranger.hears_nothing(reply.body, ["geheim", "jane.doe"])
    assert stranger.log.records, "at the finest level something is logged"
