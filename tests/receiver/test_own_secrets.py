"""Keys a receiver on loopback makes for itself."""

import json
import os
import stat
from pathlib import Path

import pytest

from replyhook.errors import ConfigurationError
from replyhook.signatures import standard_webhooks_key
from replyhook_receiver.config import Settings
from replyhook_receiver.configuring import load
from replyhook_receiver.own_secrets import secrets_for

KEY = "k" * 32
WHSEC = "whsec_" + "QUJD" * 8


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


def test_they_are_for_their_owner_alone_even_with_an_open_umask(settings: Settings) -> None:
    before = os.umask(0)
    try:
        made = secrets_for(settings)
    finally:
        os.umask(before)
    assert made.made_here is not None
    assert stat.S_IMODE(made.made_here.stat().st_mode) == 0o600
    assert standard_webhooks_key(made.notification_secrets[0])
    assert all(len(key) >= 32 for key in (*made.signing_keys, *made.api_keys))


def test_they_stay_the_same_over_restarts(settings: Settings) -> None:
    assert secrets_for(settings) == secrets_for(settings)


def test_two_receivers_make_different_ones(tmp_path: Path) -> None:
    one, other = (secrets_for(Settings(data_dir=tmp_path / name)) for name in ("one", "other"))
    assert one.signing_keys != other.signing_keys
    assert one.api_keys != other.api_keys


def test_what_is_configured_goes_before_and_the_rest_stays_the_same(settings: Settings) -> None:
    alone = secrets_for(settings)
    mixed = secrets_for(settings.model_copy(update={"api_keys": load({"REPLYHOOK_API_KEYS": KEY}).api_keys}))
    assert mixed.api_keys == (KEY,)
    assert mixed.signing_keys == alone.signing_keys


def test_with_everything_configured_nothing_is_made(tmp_path: Path) -> None:
    environ = {
        "REPLYHOOK_SIGNING_KEYS": f"{KEY}-new,{KEY}-old",
        "REPLYHOOK_API_KEYS": KEY,
        "REPLYHOOK_NOTIFICATION_SECRETS": WHSEC,
        "REPLYHOOK_HOST": "0.0.0.0",  # noqa: S104 - only to see that it is allowed with configured keys
        "REPLYHOOK_DATA_DIR": str(tmp_path / "data"),
    }
    secrets = secrets_for(load(environ))
    assert secrets.signing_keys == (f"{KEY}-new", f"{KEY}-old")
    assert secrets.made_here is None
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4"])  # noqa: S104 - they must be refused
def test_off_loopback_the_missing_variables_are_named_and_nothing_is_made(tmp_path: Path, host: str) -> None:
    settings = load({"REPLYHOOK_API_KEYS": KEY, "REPLYHOOK_DATA_DIR": str(tmp_path / "data")}, flags={"host": host})
    with pytest.raises(ConfigurationError, match="REPLYHOOK_SIGNING_KEYS, REPLYHOOK_NOTIFICATION_SECRETS") as caught:
        secrets_for(settings)
    assert "REPLYHOOK_API_KEYS" not in str(caught.value)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("content", ["", "[]", "{", "\xff"])
def test_a_broken_file_is_said_to_be_broken_and_left_alone(settings: Settings, content: str) -> None:
    path = settings.data_dir / "secrets.json"
    path.parent.mkdir()
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ConfigurationError, match=r"secrets\.json"):
        secrets_for(settings)
    assert path.read_text(encoding="latin-1") == content


def test_one_added_by_a_later_version_is_kept_too(settings: Settings) -> None:
    path = secrets_for(settings).made_here
    assert path is not None
    kept = json.loads(path.read_text())
    del kept["notification_secrets"]
    path.write_text(json.dumps(kept))
    assert secrets_for(settings) == secrets_for(settings)


def test_they_are_not_in_the_repr(settings: Settings) -> None:
    secrets = secrets_for(settings)
    for key in (*secrets.signing_keys, *secrets.api_keys, *secrets.notification_secrets):
        assert key not in repr(secrets)


def test_receivers_that_share_a_database_make_up_none(tmp_path: Path) -> None:
    shared = load({"REPLYHOOK_DATA_DIR": str(tmp_path), "REPLYHOOK_DATABASE_URL": "postgresql://u:p@db/x"})
    with pytest.raises(ConfigurationError, match="REPLYHOOK_SIGNING_KEYS, REPLYHOOK_API_KEYS"):
        secrets_for(shared)
    assert not list(tmp_path.iterdir())
