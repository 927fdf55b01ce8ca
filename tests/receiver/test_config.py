"""Settings: defaults < TOML < environment < flags, and what is said of wrong ones."""

from pathlib import Path

import pytest

from replyhook.errors import ConfigurationError
from replyhook.providers import PROVIDERS
from replyhook_receiver.config import Settings, is_loopback, load

KEY = "k" * 32
WHSEC = "whsec_" + "QUJD" * 8
SECRET = "geheim-geheim-geheim-geheim"


def file(folder: Path, text: str, name: str = "replyhook.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def shown(keys: tuple[object, ...]) -> list[str]:
    return [key.get_secret_value() for key in keys]  # type: ignore[attr-defined] # they are SecretStr


def test_with_nothing_set_it_listens_on_loopback_and_keeps_its_things_in_one_folder() -> None:
    settings = load({})
    assert (settings.host, settings.port, settings.max_callback_bytes) == ("127.0.0.1", 8080, 1024 * 1024)
    assert settings.database_path == Path("replyhook-data/replyhook.db")
    assert settings.storage_path == Path("replyhook-data/videos")
    assert set(settings.make_providers()) == set(PROVIDERS)


def test_flags_go_before_the_environment_before_the_file_before_the_defaults(tmp_path: Path) -> None:
    toml = file(tmp_path, 'host = "127.0.0.4"\nport = 4\nlog_level = "error"\nmax_video_bytes = 4\n')
    environ = {"REPLYHOOK_PORT": "5", "REPLYHOOK_LOG_LEVEL": "debug", "PATH": "/bin"}
    settings = load(environ, toml_file=toml, flags={"port": 6, "host": None})
    assert (settings.host, settings.port, settings.log_level) == ("127.0.0.4", 6, "debug")
    assert (settings.max_video_bytes, settings.delivery_concurrency) == (4, 64)


def test_provider_settings_of_file_and_environment_come_together(tmp_path: Path) -> None:
    toml = file(tmp_path, '[providers.fal]\nbase_url = "https://a.example"\nuser_ids = ["u1", "u2"]\napi_key = "old"\n')
    environ = {
        "REPLYHOOK_PROVIDERS__FAL__BASE_URL": "https://b.example",
        "REPLYHOOK_PROVIDERS__USEAPI__MEDIA_HOSTS": "one.example, .two.example",
        "FAL_KEY": "fk",
        "USEAPI_TOKEN": "ut",
    }
    providers = load(environ, toml_file=toml).providers
    assert providers["fal"] == {"base_url": "https://b.example", "user_ids": ["u1", "u2"], "api_key": "fk"}
    made = load(environ, toml_file=toml).make_providers()
    assert made["useapi"].capabilities.media_hosts == ("one.example", ".two.example")
    assert (made["fal"].api_key, made["useapi"].api_key) == ("fk", "ut")


def test_our_own_name_for_a_provider_key_goes_before_the_one_people_know() -> None:
    environ = {"FAL_KEY": "known", "REPLYHOOK_PROVIDERS__FAL__API_KEY": "ours"}
    assert load(environ).make_providers()["fal"].api_key == "ours"


def test_lists_are_separated_by_commas() -> None:
    environ = {
        "REPLYHOOK_SIGNING_KEYS": f"{KEY}-1, {KEY}-2,",
        "REPLYHOOK_ALLOWED_NETWORKS": "127.0.0.0/8,fd00::/8",
        "REPLYHOOK_NOTIFICATION_SECRETS": WHSEC,
    }
    settings = load(environ)
    assert shown(settings.signing_keys) == [f"{KEY}-1", f"{KEY}-2"]
    assert settings.allowed_networks == ("127.0.0.0/8", "fd00::/8")
    assert shown(settings.notification_secrets) == [WHSEC]


def test_secrets_may_come_in_files(tmp_path: Path) -> None:
    path = file(tmp_path, f"{KEY}\n", "signing")
    provider = file(tmp_path, "fk\n", "fal")
    environ = {"REPLYHOOK_SIGNING_KEYS_FILE": str(path), "REPLYHOOK_PROVIDERS__FAL__API_KEY_FILE": str(provider)}
    settings = load(environ)
    assert shown(settings.signing_keys) == [KEY]
    assert settings.make_providers()["fal"].api_key == "fk"


def test_a_secret_file_that_is_not_there_is_named_by_its_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="REPLYHOOK_API_KEYS_FILE"):
        load({"REPLYHOOK_API_KEYS_FILE": str(tmp_path / "nowhere")})


def test_every_problem_is_named_at_once_and_no_secret_is_shown() -> None:
    environ = {
        "REPLYHOOK_PORT": "99999",
        "REPLYHOOK_SIGNING_KEYS": "geheim-kurz",
        "REPLYHOOK_API_KEYS": f"{KEY},geheim-kurz",
        "REPLYHOOK_NOTIFICATION_SECRETS": f"whsec_{SECRET}!",
        "REPLYHOOK_PUBLIC_URL": "http://hooks.example.com",
        "REPLYHOOK_ALLOWED_NETWORKS": "not-a-network",
        "REPLYHOOK_DATABASE_URL": "postgresql://user:geheim@db/x",
        "REPLYHOOK_STORAGE_URL": "s3://bucket",
        "REPLYHOOK_LOG_LEVEL": "loud",
        "REPLYHOOK_PROVIDERS__FAL__NO_SUCH": SECRET,
    }
    with pytest.raises(ConfigurationError) as caught:
        load(environ, flags={"download_concurrency": 0})
    words = str(caught.value)
    for name in ("port", "signing_keys", "api_keys", "notification_secrets", "public_url", "allowed_networks"):
        assert f"\n  {name}" in words, name
    for name in ("database_url", "storage_url", "log_level", "download_concurrency", "no_such"):
        assert name in words, name
    assert "geheim" not in words
    assert caught.value.__cause__ is None


def test_the_problems_of_two_providers_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load({"REPLYHOOK_PROVIDERS__FAL__NO_SUCH": "1", "REPLYHOOK_PROVIDERS__NOBODY__API_KEY": "geheim"})
    assert "no_such" in str(caught.value)
    assert "nobody" in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('prot = 8080\nhost = "geheim"', "prot"),
        ("port = [", "TOML"),
        ("providers = 3", "providers"),
        ("[providers]\nfal = 3", "providers"),
        ('[providers.fal]\nbase_url = ["geheim"]', "fal"),
    ],
)
def test_a_wrong_file_is_refused_in_words(tmp_path: Path, text: str, word: str) -> None:
    for environ in ({}, {"FAL_KEY": "geheim"}):
        with pytest.raises(ConfigurationError) as caught:
            load(environ, toml_file=file(tmp_path, text))
        assert word in str(caught.value)
        assert "geheim" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"missing\.toml"):
        load({}, toml_file=tmp_path / "missing.toml")


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com",
        "http://10.0.0.1:8080",
        "ftp://x",
        "https://",
        "hooks.example.com",
        "https://x/?a=1",
        "https://[",
    ],
)
def test_a_public_url_that_providers_cannot_safely_call_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="public_url"):
        load({"REPLYHOOK_PUBLIC_URL": url})


@pytest.mark.parametrize(
    "url", ["https://hooks.example.com/replyhook/", "http://localhost:1", "http://127.0.0.9", "http://[::1]:2"]
)
def test_a_public_url_is_https_or_this_machine(url: str) -> None:
    assert load({"REPLYHOOK_PUBLIC_URL": url}).public_url == url.rstrip("/")


def test_paths_are_taken_from_urls() -> None:
    settings = load(
        {"REPLYHOOK_DATABASE_URL": "sqlite:////var/lib/x.db", "REPLYHOOK_STORAGE_URL": "file:///srv/videos"}
    )
    assert (settings.database_path, settings.storage_path) == (Path("/var/lib/x.db"), Path("/srv/videos"))
    assert load({"REPLYHOOK_DATABASE_URL": "sqlite:///here.db"}).database_path == Path("here.db")


def test_settings_show_no_secret() -> None:
    environ = {"REPLYHOOK_SIGNING_KEYS": SECRET, "REPLYHOOK_API_KEYS": SECRET, "FAL_KEY": SECRET}
    settings = load(environ)
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)
    assert SECRET not in repr(settings.make_providers())


def test_nothing_but_what_is_passed_in_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLYHOOK_PORT", "1")
    assert load({}).port == 8080
    assert Settings().port == 8080


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_loopback_is_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example", ""])  # noqa: S104 - to be refused
def test_nothing_else_is_loopback(host: str) -> None:
    assert not is_loopback(host)
