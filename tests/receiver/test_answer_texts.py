"""What is kept of an endpoint's answer."""

import time

import pytest

from replyhook_receiver.answer_texts import KEPT_BYTES, kept_text


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b"", ""),
        (b"no such order", "no such order"),
        (b"\xff\x00ok", "\ufffd\x00ok"),
        ("ä".encode() * KEPT_BYTES, "ä" * (KEPT_BYTES // 2)),
        (b"a" + "ä".encode() * KEPT_BYTES, "a" + "ä" * (KEPT_BYTES // 2 - 1)),
        (b"signed v1,AAAABBBBCCCCDDDD0123+/= thanks", "signed (hidden) thanks"),
        (b"signed v1,AAAABBBB\\/CCCCDDDD0123+\\/=; thanks", "signed (hidden); thanks"),
        (b"Authorization: Bearer abcdefgh.ijkl", "Authorization: (hidden)"),
        (b"your whsec_QUJDQUJDQUJD is old", "your (hidden) is old"),
        (b"see https://u:p@app.example/a?sig=geheim#f.", "see https://app.example/a"),
        (b'{"url": "https://app.example/a?sig=geheim"}', '{"url": "https://app.example/a"}'),
        (b"I know geheim-and-more and geheim", "I know (hidden) and (hidden)"),
    ],
    ids=str,
)
def test_it_is_cut_and_shows_no_secret(body: bytes, kept: str) -> None:
    assert kept_text(body, secrets=("geheim", "geheim-and-more", "no", "")) == kept


@pytest.mark.parametrize("word", [b"x", b"v1,", b"http://", b"bearer ", b"x.", b"whsec_", b" "], ids=str)
def test_no_answer_takes_long_to_read(word: bytes) -> None:
    started = time.process_time()
    kept_text(word * (16_384 // len(word)), secrets=("geheim",))
    assert time.process_time() - started < 0.5
