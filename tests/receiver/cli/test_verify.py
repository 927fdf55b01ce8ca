"""`replyhook verify` as a program: what it says of callbacks that are right, changed, late, and somebody else's."""

import base64
import hashlib
import hmac
import json
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from nacl.signing import SigningKey

from replyhook.ids import new_id
from replyhook.tokens import TokenKeys
from replyhook_receiver.doctor.fal_users import setting_line
from tests import program
from tests.stage import CLEAN

Run = Callable[..., subprocess.CompletedProcess[str]]
KEY = SigningKey(hashlib.sha256(b"the key of these tests").digest())
SIGNING_KEY = "signing-key-signing-key-signing-key"
BODY = b'{"request_id": "r1", "status": "OK", "payload": {"video": {"url": "https://v3.fal.media/x.mp4"}}}'
PIXVERSE_SECRET = "geheim-pixverse"
ENV = CLEAN | {"REPLYHOOK_SIGNING_KEYS": SIGNING_KEY, "REPLYHOOK_PROVIDERS__PIXVERSE__WEBHOOK_SECRETS": PIXVERSE_SECRET}


def fal_request(
    *, body: bytes = BODY, sent: bytes | None = None, age: int = 1, first: str = "", user: str = "u1"
) -> bytes:
    """A signed request, whose body then becomes ``sent``."""
    timestamp = str(int(time.time()) - age)
    signed = "\n".join(("r1", user, timestamp, hashlib.sha256(body).hexdigest())).encode()
    names = {"Request-Id": "r1", "User-Id": user, "Timestamp": timestamp, "Signature": KEY.sign(signed).signature.hex()}
    head = "".join(f"X-Fal-Webhook-{name}: {value}\r\n" for name, value in names.items())
    return f"{first}Host: hooks.example.com\r\n{head}\r\n".encode() + (body if sent is None else sent)


def pixverse_request(body: bytes, *, secret: str = PIXVERSE_SECRET) -> tuple[bytes, str]:
    """A request as PixVerse's guide describes it, and its right MAC."""
    timestamp, nonce = str(int(time.time())), "n" * 32
    form = "&".join(f"{quote_plus(name)}={quote_plus(str(value))}" for name, value in json.loads(body).items())
    mac = hmac.new(secret.encode(), f"{timestamp}\n{nonce}\n{form}".encode(), hashlib.sha256).digest()
    right = base64.b64encode(mac).decode()
    head = f"Webhook-Timestamp: {timestamp}\nWebhook-Nonce: {nonce}\nWebhook-Signature: {right}\n\n"
    return head.encode() + body, right


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    x = base64.urlsafe_b64encode(bytes(KEY.verify_key)).decode().rstrip("=")
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]}))
    return tmp_path


def told(
    folder: Path, request: bytes, *arguments: str, provider: str = "fal", run: Run = program.run, **settings: str
) -> tuple[int, dict[str, tuple[str, str]]]:
    """The exit code, and by check its outcome and what is said of it."""
    keys = ["--jwks", "jwks.json"] if provider == "fal" else []
    env = ENV | {f"REPLYHOOK_{name}": value for name, value in settings.items()}
    words = ["verify", "--provider", provider, *keys, "-o", "json", *arguments]
    ended = run(*words, env=env, cwd=folder, stdin=request)
    assert "Traceback" not in ended.stderr, ended.stderr
    assert PIXVERSE_SECRET not in ended.stdout + ended.stderr
    found = json.loads(ended.stdout)["checks"] if ended.stdout else []
    by_check = {each["check"]: (each["outcome"], f"{each['found']} {each['todo'] or ''}") for each in found}
    return ended.returncode, by_check or {"error": ("fail", ended.stderr)}


def test_a_callback_that_is_right_passes_every_check_with_its_token(folder: Path) -> None:
    job = new_id("job")
    token = TokenKeys([SIGNING_KEY]).mint(provider="fal", job_id=job, now=datetime.now(UTC))
    code, found = told(folder, fal_request(first=f"POST /callbacks/fal/{token} HTTP/1.1\r\n"), run=program.run_anew)
    assert code == 0
    assert {outcome for outcome, _ in found.values()} == {"ok"}
    assert list(found) == ["token", "headers", "sender", "time", "signature", "body"]
    assert job in found["token"][1]
    assert "succeeded" in found["body"][1]
    assert list(folder.iterdir()) == [folder / "jwks.json"]


@pytest.mark.parametrize("change", ["cut", "other provider", "other key"])
def test_a_token_that_is_not_ours_is_told(folder: Path, change: str) -> None:
    keys = TokenKeys(["another-key-another-key-another-key" if change == "other key" else SIGNING_KEY])
    token = keys.mint(provider="fal", job_id=new_id("job"), now=datetime.now(UTC))
    token = token[:-3] if change == "cut" else token
    where = "useapi" if change == "other provider" else "fal"
    code, found = told(folder, fal_request(), "--url", f"https://hooks.example.com/callbacks/{where}/{token}")
    assert (code, found["token"][0], found["signature"][0]) == (1, "fail", "ok")


@pytest.mark.parametrize(
    ("sent", "outcome", "words"),
    [
        (BODY + b"\n", "warn", "line end"),
        (json.dumps(json.loads(BODY), separators=(",", ":")).encode(), "fail", "written anew"),
        (b"\xef\xbb\xbf" + BODY, "fail", "byte order mark"),
        (BODY.replace(b"x.mp4", b"y.mp4"), "fail", "none of the 1 keys"),
    ],
)
def test_what_happened_to_a_body_on_its_way_is_found_out(folder: Path, sent: bytes, outcome: str, words: str) -> None:
    signed = json.dumps(json.loads(BODY)).encode() if words == "written anew" else BODY
    code, found = told(folder, fal_request(body=signed, sent=sent))
    assert (code, found["signature"][0]) == (int(outcome == "fail"), outcome)
    assert words in found["signature"][1]


def test_a_right_callback_that_is_late_is_told_from_a_wrong_one(folder: Path) -> None:
    request = fal_request(age=4000)
    code, found = told(folder, request)
    assert (code, found["time"][0], found["signature"][0]) == (1, "fail", "ok")
    came = datetime.fromtimestamp(time.time() - 3990, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert told(folder, request, "--at", came)[0] == 0


def test_another_users_callback_names_the_setting_that_lets_it_in(folder: Path) -> None:
    code, found = told(folder, fal_request(user="github|2"), PROVIDERS__FAL__USER_IDS="u1")
    assert (code, found["sender"][0], found["signature"][0]) == (1, "fail", "ok")
    assert "restart with REPLYHOOK_PROVIDERS__FAL__USER_IDS='u1,github|2';" in found["sender"][1], "as a shell takes it"
    assert told(folder, fal_request(user="u2"), PROVIDERS__FAL__USER_IDS="u1,u2")[0] == 0


def test_missing_and_doubled_headers_are_named(folder: Path) -> None:
    request = fal_request()
    code, found = told(folder, request.replace(b"X-Fal-Webhook-Timestamp", b"X-Lost"))
    assert (code, "x-fal-webhook-timestamp" in found["headers"][1]) == (1, True)
    _, found = told(folder, b"X-Fal-Webhook-User-Id: u1\r\n" + request)
    assert "more than once: x-fal-webhook-user-id" in found["headers"][1]


def test_a_shared_secret_is_checked_and_the_right_mac_is_never_shown(folder: Path) -> None:
    body = b'{"id": "123", "status": 1, "url": "https://media.pixverse.ai/x.mp4"}'
    request, _ = pixverse_request(body)
    assert told(folder, request, provider="pixverse")[0] == 0
    request, _ = pixverse_request(body, secret="other-secret")
    accounts = json.dumps({"second": ["other-secret"]})
    (folder / "my.toml").write_text('[providers.pixverse.accounts]\nsecond = ["other-secret"]\n')
    code, found = told(folder, request, "--config", "my.toml", provider="pixverse")
    assert (code, found["signature"][0], "'second'" in found["signature"][1]) == (1, "fail", True), accounts
    assert told(folder, request, "--config", "my.toml", "--account", "second", provider="pixverse")[0] == 0
    changed = body.replace(b"123", b"124")
    right = pixverse_request(changed)[1]
    request = request.replace(body, changed)
    code, found = told(folder, request, provider="pixverse")
    assert (code, found["signature"][0]) == (1, "fail")
    assert right not in json.dumps(found)


def test_headers_and_body_may_come_apart_and_headers_as_json(folder: Path) -> None:
    head, _, body = fal_request().partition(b"\r\n\r\n")
    pairs = [line.split(": ", 1) for line in head.decode().split("\r\n")]
    (folder / "body").write_bytes(body)
    for headers in (head.decode(), json.dumps(dict(pairs)), json.dumps(pairs)):
        (folder / "headers").write_text(headers)
        assert told(folder, b"", "--headers", "headers", "--body", "body")[0] == 0


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"\n\n",
        b"nonsense",
        b"a b: c\n\n{}",
        b"[1, 2]\n\n{}",
        b'{"a": {}}\n\n',
        b"\xff\xfe: \x00\n\n\xff",
        b"POST / HTTP/1.1\n\n",
    ],
)
@pytest.mark.parametrize("provider", ["fal", "pixverse", "aihubmax", "segmind"])
def test_nonsense_is_answered_in_words(folder: Path, provider: str, request_: bytes) -> None:
    code, _ = told(folder, request_, provider=provider)
    assert code in (0, 1, 4)


def test_nobody_is_taken_for_a_provider_that_signs_nothing_or_never_calls(folder: Path) -> None:
    code, found = told(folder, b'content-type: application/json\n\n{"status": "completed"}', provider="useapi")
    assert (code, found["token"][0], "signs nothing" in found["signature"][1]) == (0, "warn", True)
    assert told(folder, b"a: b\n\n{}", provider="segmind")[0] == 1


def test_ids_that_a_variable_could_not_hold_are_told_as_a_list_in_the_file() -> None:
    assert setting_line(["a", "a", "$(b)"]) == "REPLYHOOK_PROVIDERS__FAL__USER_IDS='a,$(b)'"
    assert setting_line(["a,b", "c"]).startswith('user_ids = ["a,b", "c"] ')
