"""Settings: defaults < TOML < environment < flags, and what is said of wrong ones."""

from pathlib import Path

import pytest

from replyhook.errors import ConfigurationError
from replyhook.providers import PROVIDERS
from replyhook_receiver.config import Settings, is_loopback
from replyhook_receiver.configuring import load
from replyhook_receiver.places import Bucket

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
        "REPLYHOOK_DATABASE_URL": "postgresql://user:geheim@db",
        "REPLYHOOK_STORAGE_URL": "s3://key:geheim@bucket/x",
        "REPLYHOOK_STORAGE_ENDPOINT": "https://key:geheim@s3.example.com",
        "REPLYHOOK_LOG_LEVEL": "loud",
        "REPLYHOOK_PROVIDERS__FAL__NO_SUCH": SECRET,
    }
    with pytest.raises(ConfigurationError) as caught:
        load(environ, flags={"download_concurrency": 0})
    words = str(caught.value)
    for name in ("port", "signing_keys", "api_keys", "notification_secrets", "public_url", "allowed_networks"):
        assert f"\n  {name}" in words, name
    for name in ("database_url", "storage_url", "storage_endpoint", "log_level", "download_concurrency", "no_such"):
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


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_postgres_url_is_one_and_its_password_is_shown_nowhere(scheme: str) -> None:
    url = f"{scheme}://user:geheim@db.internal:5432/replyhook?sslmode=require"
    settings = load({"REPLYHOOK_DATABASE_URL": url})
    assert settings.postgres_url == url
    assert "geheim" not in repr(settings)
    with pytest.raises(ConfigurationError, match="PostgreSQL") as caught:
        _ = settings.database_path
    assert "geheim" not in str(caught.value)


def test_paths_are_taken_from_urls() -> None:
    settings = load(
        {"REPLYHOOK_DATABASE_URL": "sqlite:////var/lib/x.db", "REPLYHOOK_STORAGE_URL": "file:///srv/videos"}
    )
    assert (settings.database_path, settings.storage_path) == (Path("/var/lib/x.db"), Path("/srv/videos"))
    assert load({"REPLYHOOK_DATABASE_URL": "sqlite:///here.db"}).database_path == Path("here.db")


@pytest.mark.parametrize(
    ("url", "bucket"),
    [
        ("s3://videos", Bucket(scheme="s3", name="videos", prefix="", endpoint="http://minio:9000")),
        ("s3://videos/", Bucket(scheme="s3", name="videos", prefix="", endpoint="http://minio:9000")),
        ("gs://a.b-c/x/y_z/", Bucket(scheme="gs", name="a.b-c", prefix="x/y_z", endpoint="http://minio:9000")),
        ("az://videos/x", Bucket(scheme="az", name="videos", prefix="x", endpoint="http://minio:9000")),
    ],
)
def test_videos_may_go_to_a_bucket_and_wait_beside_the_database(url: str, bucket: Bucket) -> None:
    settings = load({"REPLYHOOK_STORAGE_URL": url, "REPLYHOOK_STORAGE_ENDPOINT": "http://minio:9000/"})
    assert settings.storage_place == bucket
    assert settings.storage_path == Path("replyhook-data/spool")


@pytest.mark.parametrize(
    "url",
    [
        "s3://", "s3:///x", "s3://b", "s3://Bucket", "s3://bucket/../x", "s3://bucket//x", "s3://bucket/a?b=geheim",
        "videos", "s3://geheim:key@bucket", "s3://bucket:9000/x", "s3://bucket/\u00e4", "S3://bucket", "https://s3.example.com/b",
        "file://", "file:///", "file://host/x", "s3://bucket/.x", "s3://bucket/x\n", "memory:///", "s3://" + "b" * 64,
    ],
)  # fmt: skip
def test_a_place_for_videos_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="storage_url") as caught:
        load({"REPLYHOOK_STORAGE_URL": url})
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["s3.example.com", "ftp://x", "https://", "https://k:geheim@x", "https://x/?a=geheim", "https://["]
)
def test_an_object_stores_address_holds_no_keys(url: str) -> None:
    with pytest.raises(ConfigurationError, match="storage_endpoint") as caught:
        load({"REPLYHOOK_STORAGE_ENDPOINT": url})
    assert "geheim" not in str(caught.value)


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


def test_endpoints_are_tables_in_the_file_or_json_in_the_environment_and_hide_their_secrets(tmp_path: Path) -> None:
    text = f'''
[[endpoints]]
name = "ours"
url = "https://app.example.com/geheim"
types = ["video.stored"]
headers = {{X-Key = "geheim"}}
secrets = ["{WHSEC}"]

[[endpoints]]
name = "jane"
url = "mailto:jane@example.com"
user = "u_7"
'''
    settings = load({}, toml_file=file(tmp_path, text))
    ours, jane = (endpoint.wanted() for endpoint in settings.endpoints)
    assert (ours.channel, ours.url, ours.headers) == ("webhook", "https://app.example.com/geheim", {"X-Key": "geheim"})
    assert (ours.secrets, jane.channel, jane.user) == ((WHSEC,), "email", "u_7")
    for shown_settings in (repr(settings), repr(settings.endpoints), repr(ours), str(settings.endpoints[0].headers)):
        assert "geheim" not in shown_settings
        assert WHSEC not in shown_settings
    given = '[{"name": "theirs", "url": "https://app.example.com/"}]'
    assert [each.name for each in load({"REPLYHOOK_ENDPOINTS": given}).endpoints] == ["theirs"]


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"ENDPOINTS": "geheim"}, "REPLYHOOK_ENDPOINTS is not JSON"),
        ({"ENDPOINTS": '[{"name": "a", "url": "https://a/geheim"}, {"name": "a", "url": "https://b/"}]'}, "'a'"),
        ({"ENDPOINTS": '[{"name": "a", "url": "https://geheim\\n"}]'}, "endpoints.0"),
        ({"ENDPOINTS": '[{"name": "a", "url": "https://a/", "headers": {"Host": "geheim"}}]'}, "headers"),
        ({"ENDPOINTS": '[{"name": "a", "url": "https://a/", "secrets": ["geheim"]}]'}, "secret"),
        ({"ENDPOINTS": '[{"name": "a", "url": "https://a/", "frob": "geheim"}]'}, "frob"),
        ({"CHANNELS": "geheim"}, "REPLYHOOK_CHANNELS is not JSON"),
        ({"SMTP_HOST": "mail.example.com"}, "smtp_from"),
        ({"SMTP_HOST": "mail.example.com", "SMTP_FROM": "a@b.example", "SMTP_PASSWORD": "geheim"}, "smtp_user"),
        ({"SMTP_HOST": "mail.example.com", "SMTP_FROM": "a@b.example", "SMTP_SECURITY": "none"}, "this machine"),
    ],
    ids=str,
)
def test_wrong_endpoints_and_mail_servers_are_said_without_what_is_secret(environ: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        load({f"REPLYHOOK_{name}": value for name, value in environ.items()})
    assert "geheim" not in str(caught.value)


def test_the_readmes_endpoints_are_possible(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    tables = readme.split("```toml\n[[endpoints]]", 1)[1].split("```")[0].replace("whsec_...", WHSEC)
    settings = load({}, toml_file=file(tmp_path, f"[[endpoints]]{tables}"))
    assert [endpoint.wanted().channel for endpoint in settings.endpoints] == ["webhook", "apprise"]
