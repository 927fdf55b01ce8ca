"""The registry: a provider by its name, with its settings, and everything that belongs to one."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from replyhook.errors import ConfigurationError
from replyhook.providers import PROVIDERS, make_provider
from replyhook.providers.fal import Fal
from replyhook.providers.useapi import UseAPI
from tests.callbacks import every_recorded

TESTS = Path(__file__).parents[1]


def test_a_provider_is_made_by_its_name() -> None:
    assert make_provider("fal") == Fal()
    assert make_provider("useapi", {"api_key": "k", "email": "a@b.example"}) == UseAPI(api_key="k", email="a@b.example")


@pytest.mark.parametrize("name", ["", "FAL", "sora", "fal ", "__class__"])
def test_a_name_that_is_not_there_is_answered_with_those_that_are(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_provider(name)
    assert all(known in str(caught.value) for known in (repr(name), *PROVIDERS))


def test_a_setting_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_provider("fal", {"api_keys": "sk-geheim"})
    assert "'api_keys'" in str(caught.value)
    assert "base_url" in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("settings", [{"api_key": 7}, {"api_key": None}, {"media_hosts": 7}, {"user_ids": [1]}])
def test_a_setting_of_the_wrong_kind_is_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_provider("fal", settings)
    assert next(iter(settings)) in str(caught.value)


@pytest.mark.parametrize("given", ["u1,u2", " u1 , u2 ,", ["u1", "u2"], ("u1", "u2")])
def test_a_list_may_be_comma_separated_text(given: Any) -> None:
    assert make_provider("fal", {"user_ids": given}) == Fal(user_ids=("u1", "u2"))


def test_an_empty_text_is_an_empty_list() -> None:
    assert make_provider("fal", {"user_ids": ""}) == Fal(user_ids=())


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_a_provider_comes_with_its_module_its_tests_and_recorded_callbacks(name: str) -> None:
    """The recipe for adding one: a file of its own, the registry's line, a test that registers it, callbacks."""
    module = importlib.import_module(f"replyhook.providers.{name}")
    assert PROVIDERS[name].__module__ == module.__name__
    assert re.search(r"read \w+ 20\d\d", module.__doc__ or "")  # when its documents were read
    assert "Contract)" in (TESTS / "library" / "providers" / f"test_{name}.py").read_text()
    assert [entry for entry in every_recorded() if entry.name.startswith(f"{name}/")]


def test_every_recorded_callback_says_where_it_comes_from() -> None:
    for entry in every_recorded():
        known = ("recorded 20", "from the docs, never seen", "from the vendor's sample code, never seen", "inferred")
        assert entry.origin.startswith(known), entry.name
        assert entry.source, entry.name
        assert entry.name.partition("/")[0] in PROVIDERS, entry.name
