"""What a job costs: each provider's published figures, and nothing made up where there are none."""

from decimal import Decimal
from typing import Any

import pytest

import replyhook
from replyhook.jobs import ExtendRequest
from replyhook.pricing import Price
from replyhook.providers import PROVIDERS, make_provider


def price(name: str, **wanted: Any) -> Price | None:
    capabilities = make_provider(name).capabilities
    return capabilities.price(capabilities.prepare(ExtendRequest(prompt="a boat turns", **wanted)))


def dollars(amount: str) -> Price:
    return Price(lowest=Decimal(amount), highest=Decimal(amount))


@pytest.mark.parametrize(
    ("wanted", "amount"),
    [
        ({"quality": "360p", "duration": 10}, "0.250"),
        ({"quality": "360p", "duration": 10, "audio": True}, "0.350"),
        ({"quality": "540p", "duration": 5}, "0.175"),
        ({"quality": "540p", "duration": 1, "audio": True}, "0.045"),
        ({"quality": "720p", "duration": 15, "audio": True}, "0.900"),
        ({"quality": "1080p", "duration": 8, "audio": False}, "0.720"),
        ({"quality": "1080p", "duration": 15, "audio": True}, "1.725"),
        ({}, "0.225"),  # fal's own defaults: 720p, 5 seconds, no audio
    ],
    ids=str,
)
def test_fal_costs_what_its_table_says_to_the_cent(wanted: dict[str, Any], amount: str) -> None:
    assert price("fal", **wanted) == dollars(amount)


def test_a_dollar_buys_at_fal_what_its_page_says_it_buys() -> None:
    """ "For $1 approximately 40 seconds at 360p (no audio) or about 11 seconds at 1080p (no audio)"."""
    for quality, seconds in (("360p", 40), ("1080p", 11)):
        per_second = price("fal", quality=quality, duration=1)
        assert per_second is not None
        assert int(1 / per_second.highest) == seconds


def test_another_model_at_fal_has_no_price_that_we_know() -> None:
    capabilities = make_provider("fal", {"model_path": "fal-ai/other/extend"}).capabilities
    assert capabilities.price(ExtendRequest(prompt="a boat turns", duration=5)) is None


def test_segmind_costs_something_within_its_published_range() -> None:
    assert price("segmind", duration=8) == Price(lowest=Decimal("0.375"), highest=Decimal("1.00"))
    assert str(price("segmind")) == "$0.375 to $1.00"


@pytest.mark.parametrize("name", ["aihubmax", "pixverse", "useapi"])
def test_what_is_not_published_is_none_and_not_nothing(name: str) -> None:
    assert price(name, duration=5) is None


def test_every_quality_and_sound_that_a_priced_provider_takes_has_its_price() -> None:
    for name in PROVIDERS:
        capabilities = make_provider(name).capabilities
        quality = capabilities.field("quality")
        if capabilities.pricing is None or quality is None:
            continue
        for choice in quality.choices:
            for audio in (None, True, False) if capabilities.field("audio") else (None,):
                assert price(name, quality=choice, duration=5, audio=audio) is not None


def test_the_offers_are_what_the_tables_say() -> None:
    offers = {offer.name: offer for offer in replyhook.providers()}
    assert list(offers) == sorted(PROVIDERS)
    fal, useapi, segmind = offers["fal"], offers["useapi"], offers["segmind"]
    assert (fal.durations, fal.audio, fal.signed) == (tuple(range(1, 16)), True, True)
    assert (useapi.durations, useapi.qualities, useapi.audio) == ((5, 8), ("360p", "540p"), False)
    assert useapi.sources == ("url", "file", "data", "provider_job")
    assert (segmind.sources, segmind.styles) == (("url", "file", "data"), ())
    assert (useapi.pricing, useapi.result_lifetime) == (None, None)
    assert "with `motion_mode` fast only `duration` 5" in segmind.notes


def test_every_offer_says_only_what_its_provider_takes() -> None:
    for offer in replyhook.providers():
        capabilities = make_provider(offer.name).capabilities
        model = {"model": "v6"} if offer.name == "pixverse" else {}  # the widest of its models
        for duration in offer.durations:
            capabilities.prepare(ExtendRequest(prompt="a boat turns", duration=duration, **model))
        for quality in offer.qualities:
            capabilities.prepare(ExtendRequest(prompt="a boat turns", quality=quality))
        for style in offer.styles:
            capabilities.prepare(ExtendRequest(prompt="a boat turns", style=style))
