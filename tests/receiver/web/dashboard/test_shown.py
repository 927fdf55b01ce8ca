"""How values stand on pages."""

from datetime import UTC, datetime

import pytest

from replyhook_receiver.web.dashboard import shown
from replyhook_receiver.web.dashboard.charts import HEIGHT, WIDTH, columns, share, stack
from replyhook_receiver.web.dashboard.page_headers import origin_of, page_headers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a\u202eb\u2066c\ufeff\x00\x1b[31m", "a[U+202E]b[U+2066]c[U+FEFF][U+0000][U+001B][31m"),
        ("\ud800", "[U+D800]"),
        ("two\n lines\tapart", "two lines apart"),
        ("x" * 300, "x" * 200 + "…"),
    ],
)
def test_strangers_text_is_one_line_and_every_letter_of_it_is_seen(text: str, expected: str) -> None:
    assert shown.plain(text) == expected


def test_json_is_shown_with_its_lines_apart_and_anything_else_as_it_is() -> None:
    assert shown.pretty('{"a":["b"]}') == '{\n  "a": [\n    "b"\n  ]\n}'
    assert shown.pretty("not { json") == "not { json"
    assert shown.pretty("[" * 100_000) == "[" * 100_000
    assert shown.pretty('{"a":"\\u202e"}') == '{\n  "a": "[U+202E]"\n}'
    assert shown.pretty("1" * 5000) == "1" * 5000
    assert shown.pretty('{"a": ' + "1" * 5000 + "}") == '{"a": ' + "1" * 5000 + "}"


@pytest.mark.parametrize("depth", [13, 200, 900])
def test_json_that_is_deeper_than_anybody_writes_it_makes_no_page_longer_than_it_is_itself(depth: int) -> None:
    wide = "[" * depth + "1," * 40_000 + "1" + "]" * depth
    assert shown.pretty(wide) == wide
    assert shown.pretty('{"a":' * depth + "[]" + "}" * depth).count("\n") == 0


def test_json_as_deep_as_it_may_be_is_laid_out() -> None:
    assert shown.pretty("[" * 12 + "]" * 12).count("\n") == 22


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"),
        (0.84, "0.8 s"),
        (59, "59 s"),
        (185, "3 min 5 s"),
        (3600, "60 min"),
        (9000, "2 h 30 min"),
        (200000, "2 d 7 h"),
    ],
)
def test_waits_are_told_in_one_or_two_units(seconds: float | None, words: str) -> None:
    assert shown.wait_of(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 1024**3, "5.0 GiB"), (2**50, "1024.0 TiB")],
)
def test_sizes_are_told_in_their_unit(count: int | None, words: str) -> None:
    assert shown.bytes_size(count) == words


def test_a_time_is_the_same_moment_however_it_is_told() -> None:
    at = datetime(2026, 11, 21, 12, 0, 0, 250_000, tzinfo=UTC)
    for told in (at, "2026-11-21T12:00:00.250Z", "2026-11-21T14:00:00.250+02:00"):
        assert shown.time_attribute(told) == "2026-11-21T12:00:00.250Z"
        assert shown.time_words(told) == "2026-11-21 12:00:00 UTC"


def test_bars_stay_inside_their_chart() -> None:
    bars = columns([0, None, 5, 10], ["a", "b", "c", "d"])
    assert [bar.words for bar in bars] == ["a", "c", "d"]
    assert all(0 <= bar.y <= bar.y + bar.height <= HEIGHT and bar.x + bar.width <= WIDTH for bar in bars)
    assert columns([], []) == []
    parts = stack([("a", 1, "good"), ("b", 0, "bad"), ("c", 3, "bad")])
    assert [(bar.x, bar.width) for bar in parts] == [(0, 150), (150, 450)]
    assert stack([("a", 0, "good")]) == []
    assert (share(5, 10), share(0, 0)) == (WIDTH / 2, 0)


def test_videos_may_be_loaded_from_the_object_store_and_nowhere_else() -> None:
    link = "https://bucket.s3.eu-central-1.amazonaws.com:8443/2000/a.mp4?X-Amz-Signature=geheim"
    policy = page_headers(media_from=origin_of(link))["content-security-policy"]
    assert "media-src 'self' https://bucket.s3.eu-central-1.amazonaws.com:8443;" in policy
    assert "geheim" not in policy
    assert "default-src 'self';" in policy
    for odd in ("https://evil.example; script-src *", "javascript:alert(1)", "https://a b/", "http://[x", "/videos/x"):
        assert origin_of(odd) is None
