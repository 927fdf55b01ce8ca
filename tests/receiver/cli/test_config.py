"""`replyhook config` and `completion` as programs: what is in force, what of a file is wrong, a first file."""

import json
import os
import pty
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from replyhook.providers import PROVIDERS
from replyhook_receiver.config import Settings
from replyhook_receiver.configuring import load
from replyhook_receiver.settings_writing import settings_text
from tests import program
from tests.stage import CLEAN

PROGRAM = [sys.executable, "-m", "replyhook_receiver"]
ENV = {name: value for name, value in CLEAN.items() if not name.endswith(("_KEY", "_TOKEN"))}
SECRETS = ("geheim-geheim-geheim-1", "geheim-geheim-geheim-2", "geheim-fal-key", "geheim-chat", "geheim-password")


def run(folder: Path, *arguments: str, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    ended = program.run(*arguments, env=ENV | more, cwd=folder)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended


def shown(folder: Path, *arguments: str, **more: str) -> dict[str, tuple[object, str]]:
    told = json.loads(run(folder, "config", "show", "--json", *arguments, **more).stdout)
    return {each["name"]: (each["value"], each["origin"]) for each in told["settings"]}


def test_every_setting_is_shown_with_where_it_comes_from_and_no_secret(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(
        f'signing_keys = ["{SECRETS[0]}"]\nlog_level = "debug"\nport = 1\n\n[[endpoints]]\nname = "chat"\n'
        f'url = "https://chat.example.com/{SECRETS[3]}"\n\n[channels.pigeon]\ntoken = "{SECRETS[3]}"\n\n'
        f'[providers.fal]\napi_key = "old"\nmax_jobs = 3\nuser_ids = ["{SECRETS[3]}"]\n'
    )
    (tmp_path / "api").write_text(SECRETS[1])
    more = {
        "REPLYHOOK_CONFIG": "my.toml",
        "REPLYHOOK_PORT": "2",
        "REPLYHOOK_API_KEYS_FILE": "api",
        "FAL_KEY": SECRETS[2],
        "REPLYHOOK_SMTP_HOST": "mail.example.com",
        "REPLYHOOK_SMTP_FROM": "a@example.com",
        "REPLYHOOK_SMTP_USER": "jane",
        "REPLYHOOK_SMTP_PASSWORD": SECRETS[4],
    }
    found = shown(tmp_path, "--host", "::1", **more)
    assert list(found)[: len(Settings.model_fields) - 1] == [
        name for name in Settings.model_fields if name != "providers"
    ]
    assert found["signing_keys"] == (["********"], "my.toml, line 1")
    assert found["api_keys"] == (["********"], "REPLYHOOK_API_KEYS_FILE")
    assert found["log_level"] == ("debug", "my.toml, line 2")
    assert found["port"] == (2, "REPLYHOOK_PORT")
    assert found["host"] == ("::1", "--host")
    assert found["max_video_bytes"] == (4 * 1024**3, "default")
    assert found["endpoints"] == (["chat"], "my.toml, line 5")
    assert found["smtp_password"] == ("********", "REPLYHOOK_SMTP_PASSWORD")
    assert found["providers.fal.api_key"] == ("********", "FAL_KEY")
    assert found["providers.fal.max_jobs"] == (3, "my.toml, line 14")
    table = run(tmp_path, "config", "show", **more).stdout
    assert [secret for secret in SECRETS if secret in table + json.dumps(found)] == []


def test_keys_that_the_receiver_made_are_said_to_be_so_and_looking_makes_none(tmp_path: Path) -> None:
    assert shown(tmp_path)["signing_keys"] == ([], "default")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "replyhook-data").mkdir()
    (tmp_path / "replyhook-data" / "secrets.json").write_text(json.dumps({"signing_keys": SECRETS[0]}))
    value, origin = shown(tmp_path)["signing_keys"]
    assert (value, "secrets.json" in origin) == (["********"], True)


WRONG = """\
prot = 80
port = 99999
log_level = "geheim"
allowed_networks = [
  "127.0.0.0/8",
  "net",
]

[[endpoints]]
nmae = "x"
url = "https://x.example/geheim"

[providers.fal]
api_kye = "geheim"

[providers.useapi]
max_jobs = "geheim"

[providers.pixvers]
"""


def test_each_mistake_of_a_file_is_named_by_its_line_and_key_with_what_was_meant_or_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(WRONG)
    words = run(tmp_path, "config", "check", "my.toml", code=4).stderr
    for line in (
        r"prot \(my.toml, line 1\): .*did you mean port\?",
        r"port \(my.toml, line 2\): .*65535",
        r"log_level \(my.toml, line 3\): .*debug\|info\|warning\|error",
        r"allowed_networks \(my.toml, line 4\): .*network",
        r"endpoints.0.nmae \(my.toml, line 10\): .*did you mean name\?",
        r"providers.fal.api_kye \(my.toml, line 14\): .*did you mean api_key\?",
        r"providers.useapi.max_jobs \(my.toml, line 17\): .*int",
        r"providers.pixvers \(my.toml, line 19\): .*did you mean pixverse\?",
    ):
        assert re.search(rf"^  {line}", words, flags=re.MULTILINE), line
    assert "geheim" not in words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('host = "x"\n\nport = [1,\nsigning_keys = ["geheim"\n', "line 3, at port"),
        ('host = "x"\nport = 80\nport = 81\n', "line 3, at port"),
        ('host = "x"\n[providers.fal]\napi_key = geheim\n', "line 3, at api_key"),
        ('[providers.fal\napi_key = "geheim"\n', "line 1, at providers.fal"),
        ('public_url = "https://x\n', "line 1, at public_url"),
        ('description = """\nport = 1\n', "line 1, at description"),
        ("= 3\n", "line 1"),
    ],
)
def test_what_is_no_toml_is_named_by_line_and_key(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "my.toml").write_text(text)
    for command in (("config", "check", "my.toml"), ("serve", "--config", "my.toml")):
        told = run(tmp_path, *command, code=4).stderr
        assert f"my.toml is not TOML: {words}" in told
        assert "geheim" not in told


def test_a_variable_of_the_environment_that_is_no_setting_is_named_with_what_was_meant(tmp_path: Path) -> None:
    told = run(tmp_path, "config", "check", code=4, REPLYHOOK_DOWNLOADS_PER_HOSTS="3").stderr
    assert "did you mean REPLYHOOK_DOWNLOADS_PER_HOST?" in told


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('port = 1\ndatabase_url = "sqlite:///x.db"\napi_keys = []\n[providers.fal]\nmax_jobs = 3\n', ""),
        (f'signing_keys = ["{SECRETS[0]}"]\n', "signing_keys"),
        (f'[providers.fal]\napi_key = "{SECRETS[2]}"\n', "providers.fal.api_key"),
        (f'database_url = "postgresql://u:{SECRETS[4]}@db.internal/replyhook"\n', "database_url"),
        (f'[[endpoints]]\nname = "chat"\nurl = "https://chat.example.com/{SECRETS[3]}"\n', "endpoints"),
    ],
)
def test_a_file_that_others_may_read_is_warned_of_only_with_secrets_in_it(
    tmp_path: Path, text: str, named: str
) -> None:
    file = tmp_path / "my.toml"
    file.write_text(text)
    file.chmod(0o644)
    told = run(tmp_path, "config", "check", "my.toml").stderr
    assert ("others on this machine may read" in told) is bool(named)
    assert named in told
    assert not any(secret in told for secret in SECRETS)
    file.chmod(0o600)
    assert "others" not in run(tmp_path, "config", "check", "my.toml").stderr


def test_a_first_file_is_made_of_flags_and_variables_right_private_and_never_over_another(tmp_path: Path) -> None:
    order = ["config", "init", "my.toml", "--provider", "fal", "--provider", "useapi", "--host", "0.0.0.0"]  # noqa: S104
    order += ["--public-url", "https://hooks.example.com", "--data-dir", "/var/lib/replyhook", "--port", "80"]
    told = run(tmp_path, *order, "--notify", "https://app.example.com/hooks", code=0, FAL_KEY=SECRETS[2])
    assert "USEAPI_TOKEN" in told.stderr
    path = tmp_path / "my.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    settings = load({}, toml_file=path)
    assert (settings.public_url, settings.host, settings.port) == ("https://hooks.example.com", "0.0.0.0", 80)  # noqa: S104
    assert settings.data_dir == Path("/var/lib/replyhook")
    assert settings.providers == {"fal": {"api_key": SECRETS[2]}, "useapi": {}}
    assert settings.endpoints[0].url.get_secret_value() == "https://app.example.com/hooks"
    keys = [key.get_secret_value() for key in (*settings.signing_keys, *settings.api_keys)]
    assert not [secret for secret in (*keys, SECRETS[2]) if secret in told.stdout + told.stderr]
    run(tmp_path, "config", "check", "my.toml")
    before = path.read_bytes()
    assert "--force" in run(tmp_path, *order, code=4).stderr
    assert path.read_bytes() == before
    run(tmp_path, *order, "--force")
    assert path.read_bytes() != before
    assert [each.name for each in tmp_path.iterdir()] == ["my.toml"]


@pytest.mark.parametrize(
    ("flags", "url"),
    [
        ([], "http://127.0.0.1:8080"),
        (["--host", "0.0.0.0", "--port", "80", "--public-url", "https://h.example"], "http://127.0.0.1:80"),  # noqa: S104
        (["--host", "::1"], "http://[::1]:8080"),
        (["--port", "0"], ""),  # whatever it takes
    ],
    ids=str,
)
def test_the_lines_that_a_program_needs_are_told_and_a_shell_takes_them(
    tmp_path: Path, flags: list[str], url: str
) -> None:
    told = run(tmp_path, "config", "init", "my own.toml", *flags).stderr
    lines = [line for line in told.splitlines() if line.startswith("  export ")]
    script = "\n".join([*lines, 'printf "%s %s" "$REPLYHOOK_RECEIVER_URL" "$REPLYHOOK_API_KEY"'])
    done = subprocess.run(["/bin/sh", "-c", script], env=ENV, cwd=tmp_path, capture_output=True, text=True, check=True)
    key = load({}, toml_file=tmp_path / "my own.toml").api_keys[0].get_secret_value()
    assert done.stdout == f"{url} {key}"
    assert key not in told


def test_a_file_that_could_not_be_served_is_not_written(tmp_path: Path) -> None:
    for more in (["--public-url", "http://hooks.example.com"], ["--host", "0.0.0.0"], ["--notify", "nonsense"]):  # noqa: S104
        assert run(tmp_path, "config", "init", *more, code=4).stderr.startswith("replyhook: ")
    assert list(tmp_path.iterdir()) == []


def test_on_a_terminal_it_asks_and_hides_the_keys_that_are_typed(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*PROGRAM, "config", "init"], env=ENV, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    screen = b""
    for question, answer in (
        (b"Public https:// URL", "https://hooks.example.com"),
        (b"Address to listen on", ""),
        (b"Port", "9000"),
        (b"Folder", ""),
        (b"notifications", "https://app.example.com/hooks"),
        (b"Providers", "fal, pixverse"),
        (b"API key for fal", SECRETS[2]),
        (b"API key for pixverse", ""),
    ):
        seen = b""
        while question not in seen:
            seen += os.read(ours, 1024)
        while not seen.rstrip().endswith(b":"):
            seen += os.read(ours, 1024)
        screen += seen
        os.write(ours, answer.encode() + b"\n")
    assert process.wait(timeout=30) == 0
    os.close(ours)
    settings = load({}, toml_file=tmp_path / "replyhook.toml")
    assert (settings.port, settings.providers) == (9000, {"fal": {"api_key": SECRETS[2]}, "pixverse": {}})
    assert SECRETS[2].encode() not in screen


def test_the_written_file_names_every_setting_and_switched_on_is_the_defaults() -> None:
    text = settings_text("x.toml", {}, {})
    plain = re.sub(r"^# (\w+ = |\[)", r"\1", text, flags=re.MULTILINE)
    values = tomllib.loads(plain)
    providers = values.pop("providers")
    assert list(values) == [name for name in Settings.model_fields if name != "providers"]
    assert list(providers) == sorted(PROVIDERS)
    assert Settings(**values) == Settings()
    assert load({}) == Settings(**tomllib.loads(text))


def test_hostile_answers_stay_texts() -> None:
    nasty = 'a"b\\c\n[providers.fal]\napi_key = "x"\x7f\x00\u2028'
    read = tomllib.loads(settings_text("x.toml", {"smtp_user": nasty}, {"fal": {"api_key": nasty}}, nasty))
    assert (read["smtp_user"], read["providers"], read["endpoints"][0]["url"]) == (
        nasty,
        {"fal": {"api_key": nasty}},
        nasty,
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_our_commands(tmp_path: Path, shell: str) -> None:
    assert "_REPLYHOOK_COMPLETE" in run(tmp_path, "completion", shell).stdout


def test_bash_is_told_the_commands_that_begin_so(tmp_path: Path) -> None:
    more = {"_REPLYHOOK_COMPLETE": "bash_complete", "COMP_WORDS": "replyhook doc", "COMP_CWORD": "1"}
    completing = [
        sys.executable,
        "-c",
        "import sys; sys.argv[0] = 'replyhook'; from replyhook_receiver.cli import run; run()",
    ]
    ended = subprocess.run(
        completing, env=ENV | more, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.stdout.split() == ["plain,doctor"]


def test_a_settings_file_that_lies_here_and_is_not_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "replyhook.toml").write_text('host = "127.0.0.1"\n')
    env = {"PATH": "/usr/bin:/bin"}
    for more, is_said in (((), True), (("--config", "replyhook.toml"), False)):
        done = program.run("doctor", *more, env=env, cwd=tmp_path)
        assert ("replyhook.toml is here and is not read" in done.stderr) is is_said, done.stderr
