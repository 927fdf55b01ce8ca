"""Every limit that a provider's documents name, broken once: the message names the field and what would do.

What is broken is drawn from the capabilities themselves, so that no limit written down there goes untried; the table
says once more, by hand, which numbers the documents have (shared PROVIDERS), so that none can slip out of them either.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from replyhook.errors import InvalidRequest
from replyhook.jobs import ExtendRequest
from replyhook.providers import NEUTRAL_FIELDS, PROVIDERS, make_provider
from replyhook.providers.capabilities import Capabilities, Field, Rule

DOCUMENTED = {
    "aihubmax": {
        "duration": "1 to 15",
        "quality": "360p, 540p, 720p, 1080p",
        "style": "anime, 3d_animation, clay, comic, cyberpunk",
    },
    "fal": {
        "duration": "1 to 15",
        "quality": "360p, 540p, 720p, 1080p",
        "style": "anime, 3d_animation, clay, comic, cyberpunk",
    },
    "pixverse": {
        "prompt": "1 to 2048 characters",
        "negative_prompt": "1 to 2048 characters",
        "model": "v3.5, v4, v4.5, v5, v5.5, v6",
        "duration": "1 to 15",
        "quality": "360p, 540p, 720p, 1080p",
        "seed": "0 to 2147483647",
        "motion_mode": "normal, fast",
        "style": "anime, 3d_animation, clay, cyberpunk, comic",
    },
    "segmind": {
        "duration": "5, 8",
        "quality": "360p, 540p, 720p, 1080p",
        "motion_mode": "normal, fast",
        "seed": "1 to 999999",
    },
    "useapi": {
        "prompt": "1 to 2048 characters",
        "negative_prompt": "1 to 2048 characters",
        "duration": "5, 8",
        "quality": "360p, 540p",
        "motion_mode": "normal, fast",
        "style": "anime, 3d_animation, clay",
        "seed": "1 to 2147483647",
        "options['maxJobs']": "1 to 8",
    },
}
IN_COMPANY = {
    "aihubmax": 0,
    "fal": 0,
    "pixverse": 10,  # 1080p: no 8 s; fast: 5 s and no 1080p; what each model takes; no motion_mode from v5 on
    "segmind": 3,  # fast: 5 s; 1080p: 5 s, and not fast
    "useapi": 0,
}


def beyond(entry: Field) -> Iterator[Any]:
    """Values just outside of what the field allows, and of another type."""
    if entry.choices:
        yield "8K" if entry.type is str else max(entry.choices) + 1
    if entry.minimum is not None:
        yield entry.minimum - 1
    if entry.maximum is not None:
        yield entry.maximum + 1
    if entry.max_length is not None:
        yield "x" * (entry.max_length + 1)
    if entry.type is str:
        yield from ("", 7)
    else:
        yield from ("5", 5.0, 1 if entry.type is bool else True)


BROKEN = [
    (name, entry, value)
    for name in sorted(PROVIDERS)
    for entry in (*make_provider(name).capabilities.fields, *make_provider(name).capabilities.options)
    for value in beyond(entry)
]
RULES = [(name, rule) for name in sorted(PROVIDERS) for rule in make_provider(name).capabilities.rules]


def asking(capabilities: Capabilities, name: str, value: Any) -> ExtendRequest:
    """The least request, and in it this."""
    if name in NEUTRAL_FIELDS:
        return replace(ExtendRequest(prompt="on"), **{name: value})
    wire = next(entry.wire for entry in capabilities.options if entry.name == name)
    return ExtendRequest(prompt="on", options={wire: value})


@pytest.mark.parametrize(
    ("provider", "entry", "value"), BROKEN, ids=[f"{name}-{entry.name}-{value!r:.20}" for name, entry, value in BROKEN]
)
def test_a_limit_that_is_broken_is_named_with_what_would_do(provider: str, entry: Field, value: Any) -> None:
    capabilities = make_provider(provider).capabilities
    with pytest.raises(InvalidRequest) as caught:
        capabilities.prepare(asking(capabilities, entry.name, value))
    assert (caught.value.field, caught.value.provider) == (entry.name, provider)
    assert str(caught.value).endswith(f" is not possible for {provider}: {entry.allowed}")
    assert len(str(caught.value)) < 300, "a long value is not shown whole"


@pytest.mark.parametrize(("provider", "rule"), RULES, ids=[f"{name}: {rule.words}" for name, rule in RULES])
def test_a_limit_in_company_that_is_broken_is_named_with_its_company(provider: str, rule: Rule) -> None:
    capabilities = make_provider(provider).capabilities
    entry = capabilities.field(rule.name)
    assert entry is not None
    values = entry.choices or range(entry.minimum or 0, (entry.maximum or 0) + 1)
    value = next(each for each in values if each not in rule.allowed)
    asked = replace(ExtendRequest(prompt="on"), **{rule.when[0]: rule.when[1], rule.name: value})
    alone = replace(capabilities, rules=(rule,))
    with pytest.raises(InvalidRequest, match=f"with {rule.when[0]}='{rule.when[1]}'") as caught:
        alone.prepare(asked)
    assert (caught.value.field, caught.value.provider) == (rule.name, provider)
    with pytest.raises(InvalidRequest):
        capabilities.prepare(asked)


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_no_documented_limit_is_missing(provider: str) -> None:
    capabilities = make_provider(provider).capabilities
    for name, allowed in DOCUMENTED[provider].items():
        entry = next(each for each in (*capabilities.fields, *capabilities.options) if each.name == name)
        assert allowed in entry.allowed
    assert len(capabilities.rules) == IN_COMPANY[provider]


def test_no_documented_limit_of_an_upload_is_missing() -> None:
    """What breaks each of them is in ``test_uploads``."""
    pixverse, useapi = make_provider("pixverse").capabilities, make_provider("useapi").capabilities
    assert (pixverse.max_upload_bytes, pixverse.max_upload_seconds, pixverse.max_upload_side_pixels) == (
        50 * 1024**2,
        30,
        1920,
    )
    assert pixverse.upload_suffixes == (".mp4", ".mov", ".webm")
    assert useapi.max_upload_bytes == 5 * 1024**3
