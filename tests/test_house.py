"""The house rules that a reader relies on: what belongs together stands together, and the documents say what is."""

import dataclasses
import json
import re
import tomllib
from pathlib import Path

import pytest

from replyhook.providers import PROVIDERS
from replyhook_receiver.cli.providers import capabilities_notes, capabilities_table
from replyhook_receiver.config import Settings
from replyhook_receiver.extras import how_to_install
from replyhook_receiver.lifecycle import diagram
from replyhook_receiver.sandbox.app import PROVIDERS as IMITATED
from replyhook_receiver.web.route_scopes import rules_table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def marked(name: str) -> str:
    """The README's text from a mark to the next heading or mark."""
    return re.split(r"\n#|\n<!-- ", README.split(f"<!-- {name} -->", 1)[1])[0]


def first_cells(table: str) -> list[str]:
    return re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_a_provider_has_everything_the_recipe_asks_for(name: str) -> None:
    tests = ROOT / "tests"
    assert (ROOT / f"client/replyhook/providers/{name}.py").is_file()
    assert "provider_contract" in (tests / f"library/providers/test_{name}.py").read_text(encoding="utf-8")
    recorded = list((tests / "callbacks" / name).glob("*.json"))
    assert recorded
    assert all(json.loads(path.read_text(encoding="utf-8"))["origin"] for path in recorded)
    assert name in IMITATED


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_a_providers_file_opens_with_where_its_facts_come_from(name: str) -> None:
    opening = (ROOT / f"client/replyhook/providers/{name}.py").read_text(encoding="utf-8").split('"""')[1]
    assert "https://" in opening
    assert re.search(r"read \w+ 20\d\d", opening)
    assert re.search(r"[Ss]igns", opening)


def test_what_has_to_be_installed_is_said_with_where_it_is_while_no_index_has_it() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = set()
    for path in (ROOT / "receiver").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r"how_to_install\([\"'](\w+)[\"']\)", text))
        assert path.name == "extras.py" or "install 'replyhook[" not in text, path
    assert named
    assert named <= set(extras)
    assert "(in a folder with its source: pip install '.[cloud]')" in how_to_install("cloud")
    pages = README + (ROOT / "deploy/README.md").read_text(encoding="utf-8")
    pages += (ROOT / "deploy/capacity.md").read_text(encoding="utf-8")
    assert "install 'replyhook[" not in pages


def test_settings_are_the_same_in_code_readme_and_example() -> None:
    names = [name for name in Settings.model_fields if name != "providers"]
    example = (ROOT / "deploy/replyhook.example.toml").read_text(encoding="utf-8")
    assert first_cells(marked("settings")) == names
    assert re.findall(r"^# (\w+) = ", example.split("[providers.")[0], flags=re.MULTILINE) == names
    for name, field in Settings.model_fields.items():
        if name != "providers":
            assert f"# {field.description}\n# {name} = " in example
            assert f"| {field.description} |" in marked("settings")


def test_provider_settings_are_the_same_in_code_readme_and_example() -> None:
    example = (ROOT / "deploy/replyhook.example.toml").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", marked("providers"), flags=re.MULTILINE))
    assert sorted(rows) == sorted(PROVIDERS)
    for name, kind in PROVIDERS.items():
        fields = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
        assert re.findall(r"`(\w+)`", rows[name]) == fields
        section = example.split(f"[providers.{name}]", 1)[1].split("\n[")[0]
        assert re.findall(r"^# (\w+) = ", section, flags=re.MULTILINE) == fields


def test_the_example_settings_with_every_line_switched_on_are_the_defaults() -> None:
    example = (ROOT / "deploy/replyhook.example.toml").read_text(encoding="utf-8")
    values = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", example, flags=re.MULTILINE))
    for name, given in values.pop("providers").items():
        fresh = PROVIDERS[name]()
        defaults = {field.name: getattr(fresh, field.name) for field in dataclasses.fields(PROVIDERS[name])}  # type: ignore[arg-type]
        for setting, value in given.items():
            assert (tuple(value) if isinstance(value, list) else value or None) == (
                defaults[setting] or None if not isinstance(defaults[setting], tuple) else defaults[setting]
            )
    assert Settings(**values) == Settings()


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_the_readmes_first_screen_names_every_provider(name: str) -> None:
    assert PROVIDERS[name]().capabilities.title in README.split("## Try it")[0]


def test_the_readmes_state_diagram_is_the_lifecycle_table() -> None:
    assert diagram() in marked("lifecycle")


def test_the_readmes_table_of_scopes_is_the_routes_rules() -> None:
    assert rules_table() in marked("scopes")


def test_the_readmes_table_of_providers_is_printed_from_their_capabilities() -> None:
    assert capabilities_table() in marked("capabilities")
    assert capabilities_notes() in marked("capabilities")


def test_the_top_level_holds_only_what_the_owner_fixed() -> None:
    fixed = {"pyproject.toml", "receiver", "client", "tests", "deploy", "README.md", "LICENSE", "CHANGELOG.md"}
    generated = {"replyhook-demo", "replyhook-data", "build", "dist"}
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert found - generated == fixed
