"""A file or bytes on their way to each provider: whole, few at a time, told of; refused while it is free."""

import base64
import io
import json
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from replyhook.errors import (
    BadRequest,
    ConfigurationError,
    InvalidRequest,
    NoProviderLeft,
    ProviderUnavailable,
    Unauthorized,
)
from replyhook.local_video import CHUNK_BYTES, OnUpload
from tests.library.conftest import FAL, Driver
from tests.library.loopback import VIDEO, World, says

UPLOADS = {
    "aihubmax": "POST /aihubmax/v1/files/upload/stream",
    "fal": "PUT /put",
    "pixverse": "POST /pixverse/media/upload",
    "segmind": "POST /segmind/upload-asset",
    "useapi": "POST /useapi/files/",
}
SUBMITS = {
    "aihubmax": "POST /aihubmax/v1/videos/",
    "fal": "POST /fal/",
    "pixverse": "POST /pixverse/video/",
    "segmind": "POST /v1/jobs",
    "useapi": "POST /useapi/videos/",
}
MB = 1024 * 1024


@pytest.fixture
def client(drive: Driver, world: World) -> Any:
    """A client of this world's receiver and all five providers."""
    world.will_answer("POST /v1/jobs", says(202, {}))
    world.will_answer("POST /v1/jobs/", says(200, {}))
    providers: dict[str, dict[str, Any]] = {
        name: {"api_key": f"{name}-geheim", "base_url": f"{world.url}/{name}"} for name in UPLOADS
    }
    providers["fal"]["rest_url"] = f"{world.url}/rest"
    providers["segmind"]["assets_url"] = f"{world.url}/segmind"
    providers["pixverse"]["webhook_id"] = "1"
    return drive.client(receiver_url=world.url, api_key="rk-geheim", providers=providers)


def asked(provider: str, video: Any) -> dict[str, Any]:
    return {**FAL, "provider": provider, "video": video}


def uploaded(world: World, provider: str) -> bytes:
    """The video as it arrived, taken out of what was around it."""
    (upload,) = world.to(UPLOADS[provider])
    kind = upload.headers["content-type"]
    if kind.startswith("multipart/"):
        boundary = kind.partition("boundary=")[2].encode()
        part = next(part for part in upload.body.split(b"--" + boundary) if b'name="file"' in part)
        return part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
    if kind == "application/json":
        (data_url,) = json.loads(upload.body)["data_urls"]
        return base64.b64decode(data_url.removeprefix("data:video/mp4;base64,"), validate=True)
    return upload.body


def opened_at(path: Path, position: int) -> Any:
    file = path.open("rb")
    file.seek(position)
    return file


class Watched(io.FileIO):
    """A file that remembers how much was read of it at once, and may do something after a while."""

    def __init__(self, path: Path, after: int = -1, then: Callable[[], object] = lambda: None) -> None:
        super().__init__(path)
        self.largest = 0
        self._after = after
        self._then = then

    def read(self, size: int | None = -1, /) -> bytes:
        if self._after >= 0 and self.tell() >= self._after:
            self._after = -1
            self._then()
        chunk = super().read(size) or b""
        self.largest = max(self.largest, len(chunk))
        return chunk


# Whole and in order


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "open file", "in memory", "behind its header"])
@pytest.mark.parametrize("provider", sorted(UPLOADS))
def test_whatever_it_is_given_as_the_same_bytes_arrive_before_the_submit(
    drive: Driver, client: Any, world: World, tmp_path: Path, provider: str, kind: str
) -> None:
    content = VIDEO + b"the end"  # no multiple of three, nor of a chunk
    path = tmp_path / "jane's own.mp4"
    path.write_bytes(content if kind != "behind its header" else b"0123456789" + content)
    videos: dict[str, Callable[[], Any]] = {
        "path": lambda: path,
        "text": lambda: str(path),
        "bytes": lambda: content,
        "open file": lambda: path.open("rb"),
        "in memory": lambda: io.BytesIO(content),
        "behind its header": lambda: opened_at(path, 10),
    }
    video = videos[kind]()
    told: list[tuple[int, int | None]] = []
    drive(client.submit(**asked(provider, video), on_upload=lambda sent, total: told.append((sent, total))))
    assert uploaded(world, provider) == content
    assert len(world.to(SUBMITS[provider])) == 1
    assert (told[0], told[-1]) == ((0, len(content)), (len(content), len(content)))
    assert told == sorted(set(told))
    assert all(b"jane" not in seen.body for seen in world.seen), "what the caller calls it stays here"
    if hasattr(video, "closed"):
        assert not video.closed, "who opened it closes it"
        video.close()


@pytest.mark.parametrize(
    ("name", "kind"), [("in.mov", "video/quicktime"), ("in.WEBM", "video/webm"), ("in", "video/mp4")]
)
def test_a_provider_is_told_what_kind_of_video_comes(
    drive: Driver, client: Any, world: World, tmp_path: Path, name: str, kind: str
) -> None:
    (tmp_path / name).write_bytes(VIDEO)
    for provider in ("fal", "useapi"):
        drive(client.submit(**asked(provider, tmp_path / name)))
    assert world.to("POST /rest/")[0].json()["content_type"] == kind
    assert [world.to(UPLOADS[name])[0].headers["content-type"] for name in ("fal", "useapi")] == [kind, kind]


def test_an_address_that_is_sent_on_is_counted_as_well(drive: Driver, client: Any, world: World) -> None:
    told: list[tuple[int, int | None]] = []
    video = f"{world.url}/in.mp4"
    drive(client.submit(**asked("useapi", video), on_upload=lambda sent, total: told.append((sent, total))))
    assert told[-1] == (len(VIDEO), len(VIDEO))


# Few at a time


@pytest.mark.parametrize("provider", ["fal", "segmind", "useapi", "aihubmax"])
def test_a_large_file_is_never_in_memory(
    drive: Driver, client: Any, world: World, tmp_path: Path, provider: str
) -> None:
    world.keeps_bodies = False
    path = tmp_path / "in.mp4"
    with path.open("wb") as sparse:
        sparse.truncate(200 * MB)
    with Watched(path) as video:
        tracemalloc.start()
        try:
            drive(client.submit(**asked(provider, video)))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert video.largest <= CHUNK_BYTES
    (upload,) = world.to(UPLOADS[provider])
    assert int(upload.body) >= 200 * MB
    assert int(upload.body) == int(upload.headers["content-length"])
    assert peak < 8 * MB, f"{peak / MB:.0f} MB, with the server's own share"


# Refused while it is free


def mp4(
    *, seconds: float = 5.0, width: int = 640, height: int = 360, major: bytes = b"mp42", long: bool = False
) -> bytes:
    """Boxes that say so, and no picture."""

    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(content), kind) + content

    scale = (
        struct.pack(">QQIQ", 0, 0, 600, int(seconds * 600))
        if long
        else struct.pack(">IIII", 0, 0, 600, int(seconds * 600))
    )
    head = bytes([1 if long else 0, 0, 0, 0])
    mvhd = box(b"mvhd", head + scale + bytes(80))
    tkhd = box(b"tkhd", head + bytes(84 if long else 72) + struct.pack(">II", width << 16, height << 16))
    sound = box(b"trak", box(b"tkhd", bytes(84)))
    moov = box(b"moov", mvhd + sound + box(b"trak", tkhd))
    mdat = struct.pack(">I4sQ", 1, b"mdat", 16 + 100) + bytes(100)
    return box(b"ftyp", major + bytes(8)) + mdat + moov


@pytest.mark.parametrize(
    ("provider", "name", "content", "words"),
    [
        ("pixverse", "in.mp4", mp4(seconds=31.5), "31.5 s.* at most 30 s long"),
        ("pixverse", "in.mp4", mp4(seconds=31.5, long=True), "31.5 s.* at most 30 s long"),
        ("pixverse", "in.mp4", mp4(width=2560, height=1440), "2560 pixels.* at most 1920 pixels on either side"),
        ("pixverse", "in.mov", mp4(width=1080, height=1921, major=b"qt  "), "1921 pixels"),
        ("pixverse", "in.avi", mp4(), r"ends in \.mp4, \.mov, \.webm"),
        ("pixverse", "in.mp4", b"<!doctype html>" * 9, "these begin otherwise"),
        ("pixverse", "in.mp4", 50 * MB + 1, "52428801 bytes.* at most 52428800 bytes"),
        ("useapi", "in.mp4", 5 * 1024 * MB + 1, "5368709121 bytes.* at most 5368709120 bytes"),
        *[(name, "in.mp4", b"", "it is empty|rewind it") for name in UPLOADS],
    ],
)  # fmt: skip
def test_a_limit_of_an_upload_is_named_before_a_byte_is_sent(
    drive: Driver, client: Any, world: World, tmp_path: Path, provider: str, name: str, content: bytes | int, words: str
) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(content) if isinstance(content, int) else file.write(content)
    with path.open("rb") as file:
        for video in (path, file):
            with pytest.raises(InvalidRequest, match=words) as caught:
                drive(client.submit(**asked(provider, video)))
            assert caught.value.field == "video"
    assert not world.seen


@pytest.mark.parametrize(
    "content",
    [
        mp4(seconds=30.9, width=1920, height=1080),
        mp4(seconds=0),  # in pieces: how long, nobody knows beforehand
        mp4()[:60],  # cut off: PixVerse will say so
        b"\x1aE\xdf\xa3" + bytes(100),
        struct.pack(">I4s", 1, b"moov"),
        b"\x00\x00\x00\x00moov" + b"\x00\x00\x00\x00mvhd",
    ],
    ids=["just", "fragmented", "cut off", "webm", "too short", "to the end"],
)
def test_what_cannot_be_told_without_decoding_is_the_providers_to_judge(
    drive: Driver, client: Any, world: World, content: bytes
) -> None:
    drive(client.submit(**asked("pixverse", content)))
    assert uploaded(world, "pixverse") == content


def test_no_header_is_an_error_of_ours(client: Any) -> None:
    for content in [os.urandom(40) for _ in range(20)] + [mp4()[:cut] for cut in range(8, 400, 7)]:
        (estimate,) = client.estimate(**asked("pixverse", b"\x00\x00\x00\x14ftyp" + content))
        assert estimate.problem is None, content


def test_an_address_whose_length_is_too_large_is_refused_before_a_byte_is_sent_on(
    drive: Driver, client: Any, world: World
) -> None:
    world.will_answer("GET /large", says(200, None, content_length=str(6 * 1024 * MB)))
    world.will_answer("GET /page", says(200, None, content_type="text/html"))
    for path, words in (("large.mp4", "at most 5368709120 bytes"), ("page", "a text, not a video")):
        with pytest.raises(InvalidRequest, match=words):
            drive(client.submit(**asked("useapi", f"{world.url}/{path}?sig=geheim")))
    assert not world.to("POST /useapi/")


@pytest.mark.parametrize(
    ("video", "words"),
    [
        (io.StringIO("text"), "binary mode"),
        (7, "an http.* URL, a path, an open binary file or bytes"),
        (None, "an http.* URL, a path, an open binary file or bytes"),
        (["in.mp4"], "an http.* URL, a path, an open binary file or bytes"),
        (bytearray(b"mp4"), "an http.* URL, a path, an open binary file or bytes"),
        ("ftp://a.example/in.mp4", "http://"),
        ("in.mp4", "an existing file"),
        (Path("/"), "an existing file"),
        (b"", "empty"),
        (io.BytesIO(), "rewind it"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)  # fmt: skip
def test_a_video_that_is_neither_address_nor_file_nor_id_is_refused_at_once(
    drive: Driver, client: Any, world: World, video: Any, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        drive(client.submit(**asked("useapi", video)))
    assert caught.value.field == "video"
    assert not world.seen


def test_a_file_that_cannot_be_read_twice_is_refused_at_once(drive: Driver, client: Any, world: World) -> None:
    reading, writing = os.pipe()
    os.close(writing)
    closed = io.BytesIO(VIDEO)
    closed.close()
    with os.fdopen(reading, "rb") as pipe:
        for video in (pipe, closed):
            with pytest.raises(InvalidRequest, match="pipe to a file first"):
                drive(client.submit(**asked("useapi", video)))
    with pytest.raises(InvalidRequest, match="function"):
        drive(client.submit(**asked("useapi", VIDEO), on_upload=7))
    assert not world.seen


# What changes meanwhile


def shrink(path: Path) -> None:
    os.truncate(path, 400_000)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, (1, 1))


@pytest.mark.parametrize("change", [shrink, grow, overwrite])
@pytest.mark.parametrize("provider", sorted(UPLOADS))
def test_a_file_that_changes_while_it_is_read_is_an_error_and_nothing_is_submitted(
    drive: Driver, client: Any, world: World, tmp_path: Path, provider: str, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "in.mp4"
    path.write_bytes(VIDEO)
    with (
        Watched(path, CHUNK_BYTES, lambda: change(path)) as video,
        pytest.raises(InvalidRequest, match="changed after it was handed over; nothing was submitted"),
    ):
        drive(client.submit(**asked(provider, video)))
    assert not world.to(SUBMITS[provider])
    told = [seen.json()["outcome"] for seen in world.to("POST /v1/jobs/")]
    assert told == ([] if provider == "segmind" else ["refused"])


def test_a_file_that_changes_before_it_is_read_costs_no_byte(
    drive: Driver, client: Any, world: World, tmp_path: Path
) -> None:
    path = tmp_path / "in.mp4"
    path.write_bytes(VIDEO)

    registered = world.answers["PUT /v1/jobs/"][0]

    async def change_meanwhile(request: Request) -> Response:
        grow(path)
        return await registered(request)

    world.will_answer("PUT /v1/jobs/", change_meanwhile)
    told: list[int] = []
    with pytest.raises(InvalidRequest, match="changed"):
        drive(client.submit(**asked("useapi", path), on_upload=lambda sent, _: told.append(sent)))
    assert not told
    assert not world.to("POST /useapi/")


@pytest.mark.parametrize("error", [KeyError("mine"), KeyboardInterrupt(), OSError("the terminal is gone")], ids=repr)
def test_a_listener_that_raises_ends_the_submit_and_the_receiver_is_told(
    drive: Driver, client: Any, world: World, error: BaseException
) -> None:
    def listen(sent: int, _: int | None) -> None:
        if sent:
            raise error

    with pytest.raises(type(error)):
        drive(client.submit(**asked("useapi", VIDEO), on_upload=listen))
    assert not world.to("POST /useapi/videos/")
    assert [seen.json()["outcome"] for seen in world.to("POST /v1/jobs/")] == ["refused"]


def test_an_upload_made_again_begins_where_the_file_stood(
    drive: Driver, client: Any, world: World, tmp_path: Path
) -> None:
    path = tmp_path / "in.mp4"
    path.write_bytes(b"0123456789" + VIDEO)
    world.will_answer(UPLOADS["useapi"], says(429, retry_after="0"), says(200, {"path": "p/1.mp4"}))
    told: list[int] = []
    on_upload: OnUpload = lambda sent, _: told.append(sent)  # noqa: E731 - its type is what is tried here
    with opened_at(path, 10) as video:
        drive(client.submit(**asked("useapi", video), on_upload=on_upload))
    assert [seen.body for seen in world.to(UPLOADS["useapi"])] == [VIDEO, VIDEO]
    assert told.count(0) == 2


def test_an_upload_that_is_refused_is_no_submit(drive: Driver, client: Any, world: World) -> None:
    world.will_answer("PUT /put", says(413))
    with pytest.raises(BadRequest, match="413"):
        drive(client.submit(**asked("fal", VIDEO)))
    world.will_answer("PUT /put", says(307, None, location=f"{world.url}/elsewhere"))
    with pytest.raises(ProviderUnavailable, match="307"):
        drive(client.submit(**asked("fal", VIDEO)))
    assert not world.to("POST /fal/")
    assert not world.to("PUT /elsewhere")


# Relayed


def test_a_file_for_segmind_is_uploaded_here_and_the_receiver_is_told_where_it_is(
    drive: Driver, client: Any, world: World
) -> None:
    drive(client.submit(**asked("segmind", VIDEO)))
    assert [f"{seen.method} {seen.path}" for seen in world.seen] == ["POST /segmind/upload-asset", "POST /v1/jobs"]
    upload, relayed = world.seen
    assert upload.headers["x-api-key"] == "segmind-geheim"
    assert relayed.json()["video"] == "https://f.example/1"
    assert b"segmind-geheim" not in relayed.body


def test_a_file_for_segmind_needs_its_key_here(drive: Driver, world: World) -> None:
    client = drive.client(receiver_url=world.url, api_key="rk")
    with pytest.raises(ConfigurationError, match=r"give a URL, or the key to upload it with.*SEGMIND_API_KEY"):
        drive(client.submit(**asked("segmind", VIDEO)))
    assert not world.seen


def test_segminds_refusal_of_an_upload_is_its_own_and_the_next_may_take_the_job(
    drive: Driver, client: Any, world: World
) -> None:
    world.will_answer(UPLOADS["segmind"], says(401, {"error": "who?"}))
    with pytest.raises(Unauthorized, match="segmind refused the job: who"):
        drive(client.submit(**asked("segmind", VIDEO)))
    job = drive(client.submit(**{**asked("segmind", VIDEO), "provider": ["segmind", "fal"]}))
    assert (job.provider, [name for name, _ in job.tried]) == ("fal", ["segmind"])
    with pytest.raises(NoProviderLeft, match="who"):
        drive(client.submit(**{**asked("segmind", VIDEO), "provider": ["segmind"]}))
    assert not world.to("POST /v1/jobs ")
