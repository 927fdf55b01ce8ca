"""What a provider can do, as values: limits alone and in company, and what is filled in."""

from typing import Any

import pytest

from replyhook.errors import InvalidRequest
from replyhook.jobs import ExtendRequest
from replyhook.providers import NEUTRAL_FIELDS, PROVIDERS, CallbackKind, Capabilities, make_provider
from replyhook.providers.capabilities import Field, Rule

ACME = Capabilities(
    name="acme",
    title="Acme",
    fields=(
        Field(name="prompt", wire="text", type=str, required=True, max_length=5, source="page"),
        Field(name="duration", wire="seconds", type=int, required=True, fill=5, choices=(5, 8), source="page"),
        Field(name="quality", wire="size", type=str, choices=("540p", "1080p"), source="page"),
        Field(name="seed", wire="seed", type=int, minimum=0, source="page"),
    ),
    options=(Field(name="options['tier']", wire="tier", type=int, minimum=1, maximum=3, source="page"),),
    rules=(Rule(when=("quality", "1080p"), name="duration", allowed=(5,), source="page"),),
    takes=frozenset(),
    callback=CallbackKind.PER_JOB,
    signed=False,
    reports_progress=False,
    can_cancel=False,
    result_lifetime=None,
    media_hosts=("media.acme.example", ".cdn.example"),
    key_variable="ACME_KEY",
)


def test_what_the_provider_requires_is_filled_in_and_nothing_else() -> None:
    prepared = ACME.prepare(ExtendRequest(prompt="boat"))
    assert prepared == ExtendRequest(prompt="boat", duration=5)
    assert ACME.wire(prepared) == {"text": "boat", "seconds": 5}


def test_what_was_asked_for_is_kept() -> None:
    asked = ExtendRequest(prompt="boat", duration=8, quality="540p", seed=0, options={"tier": 3})
    assert ACME.prepare(asked) == asked
    assert ACME.wire(asked) == {"text": "boat", "seconds": 8, "size": "540p", "seed": 0, "tier": 3}


@pytest.mark.parametrize(
    ("asked", "field", "allowed"),
    [
        ({"prompt": "boats!"}, "prompt", "1 to 5 characters"),
        ({"prompt": ""}, "prompt", "1 to 5 characters"),
        ({"prompt": None}, "prompt", "required"),
        ({"prompt": b"boat"}, "prompt", "1 to 5 characters"),
        ({"duration": 6}, "duration", "5, 8"),
        ({"duration": "5"}, "duration", "5, 8"),
        ({"seed": -1}, "seed", "whole number"),
        ({"seed": True}, "seed", "whole number"),
        ({"style": "clay"}, "style", "leave it out"),
        ({"audio": False}, "audio", "leave it out"),
        ({"options": {"tier": 4}}, "options['tier']", "1 to 3"),
        ({"options": {"tier": None}}, "options['tier']", "1 to 3"),
        ({"options": {"seconds": 5}}, "options['seconds']", "tier"),
        ({"quality": "1080p", "duration": 8}, "duration", "only 5 with quality='1080p'"),
    ],
    ids=str,
)
def test_a_broken_limit_names_field_value_and_what_is_allowed(asked: dict[str, Any], field: str, allowed: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ACME.prepare(ExtendRequest(**{"prompt": "boat", **asked}))
    assert caught.value.field == field
    assert allowed in caught.value.allowed
    assert caught.value.provider == "acme"


def test_a_rule_holds_only_in_company() -> None:
    ACME.prepare(ExtendRequest(prompt="boat", quality="1080p", duration=5))
    ACME.prepare(ExtendRequest(prompt="boat", quality="540p", duration=8))


def test_a_rule_holds_for_what_was_filled_in() -> None:
    strict = Rule(when=("quality", "1080p"), name="duration", allowed=(8,), source="page")
    with pytest.raises(InvalidRequest, match="duration=5"):
        strict.check(ACME.prepare(ExtendRequest(prompt="boat", quality="1080p")), provider="acme")


def test_a_host_that_begins_with_a_dot_stands_for_those_below_it() -> None:
    for host in ("media.acme.example", "eu.cdn.example", "a.b.cdn.example"):
        assert ACME.allows_host(host)
    for host in ("acme.example", "x.media.acme.example", "evilcdn.example", "cdn.example.evil.example", ""):
        assert not ACME.allows_host(host)


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_a_providers_capabilities_are_in_order(name: str) -> None:
    capabilities = make_provider(name).capabilities
    assert capabilities.name == name
    assert not capabilities.takes & capabilities.uploads
    assert capabilities.media_hosts or any("media_hosts" in note for note in capabilities.notes)
    assert {entry.name for entry in capabilities.fields} <= set(NEUTRAL_FIELDS)
    wires = [entry.wire for entry in (*capabilities.fields, *capabilities.options)]
    assert len(wires) == len(set(wires))
    for entry in (*capabilities.fields, *capabilities.options):
        assert entry.source
        assert entry.type in (str, int, bool)


def test_every_neutral_field_is_a_field_of_the_request() -> None:
    request = ExtendRequest(prompt="boat")
    assert all(hasattr(request, name) for name in NEUTRAL_FIELDS)
    assert {*NEUTRAL_FIELDS, "options"} == set(ExtendRequest.__dataclass_fields__)
