"""`replyhook endpoints` as a program, against a receiver in a process of its own."""

import json
import re
import subprocess
from collections.abc import Iterator

import pytest
from anyio import to_thread
from standardwebhooks import Webhook

from tests import program
from tests.receiver.support import LOOPBACK, Host, says
from tests.stage import CLEAN, KEY, free_port, running, wait_for

MISSING = "ep_06gzvyj6038xt427xgy6esgkjx"


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What leads to a receiver that runs, with one endpoint from its settings file."""
    folder, port = tmp_path_factory.mktemp("receiver"), free_port()
    (folder / "replyhook.toml").write_text('[[endpoints]]\nname = "theirs"\nurl = "http://127.0.0.1:9/"\n')
    settings = {"API_KEYS": KEY, "PORT": str(port), "ALLOWED_NETWORKS": LOOPBACK, "CONFIG": "replyhook.toml"}
    mine = CLEAN | {f"REPLYHOOK_{name}": value for name, value in settings.items()}
    url = f"http://127.0.0.1:{port}"
    with running("serve", env=mine, cwd=folder, output=folder / "serve.log") as receiver:
        wait_for(f"{url}/readyz", receiver)
        yield CLEAN | {"REPLYHOOK_RECEIVER_URL": url, "REPLYHOOK_API_KEY": KEY}


def run(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return program.run("endpoints", *arguments, env=env)


def done(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    ended = run(env, *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended


def test_an_endpoint_is_added_listed_disabled_enabled_and_removed(env: dict[str, str]) -> None:
    added = done(
        env, "add", "http://127.0.0.1:9/x", "--name", "ours", "--user", "u_7", "--type", "job.failed", "-o", "id"
    )
    endpoint = added.stdout.strip()
    assert endpoint.startswith("ep_")
    assert re.search(r"shown this once: whsec_\S{40}", added.stderr)
    listed = done(env, "list", "--user", "u_7")
    assert [word in listed.stdout for word in (endpoint, "ours", "job.failed", "enabled")] == [True] * 4
    assert "whsec_" not in listed.stdout + listed.stderr
    assert json.loads(done(env, "disable", endpoint, "-o", "json").stdout)["disabled_why"] == "by hand"
    assert "disabled: by hand" in done(env, "list").stdout
    assert json.loads(done(env, "enable", endpoint, "-o", "jsonl").stdout)["enabled"] is True
    assert done(env, "remove", endpoint).stdout == ""
    assert endpoint not in done(env, "list", "-o", "id").stdout


async def test_an_endpoint_is_tried_and_its_secret_rotated(env: dict[str, str], host: Host) -> None:
    url = host.will("/hook", says(200, b"thanks\x1b[2J"), says(200), says(500, b"broken"))

    def story() -> tuple[str, str, subprocess.CompletedProcess[str], subprocess.CompletedProcess[str]]:
        made = json.loads(done(env, "add", url, "--header", "X-Team=video", "-o", "json").stdout)
        first = done(env, "test", made["id"])
        assert "taken, answered 200" in first.stdout
        assert "thanks\\x1b[2J" in first.stdout
        fresh = done(env, "rotate-secret", made["id"], "--overlap", "1")
        assert "signs as well until 20" in fresh.stderr
        done(env, "test", made["id"])
        return made["secret"], fresh.stdout.strip(), first, run(env, "test", made["id"])

    old, new, _, broken = await to_thread.run_sync(story)
    assert (broken.returncode, "not taken: the endpoint answered 500" in broken.stdout) == (1, True)
    (*_, before, _), (*_, headers, body), _ = host.seen
    assert before["x-team"] == "video"
    for secret in (old, new):
        assert Webhook(secret).verify(body, headers)


def test_the_settings_own_endpoints_are_shown_and_changed_there_alone(env: dict[str, str]) -> None:
    theirs = [each for each in json.loads(done(env, "list", "-o", "json").stdout)["data"] if each["name"] == "theirs"]
    assert [each["origin"] for each in theirs] == ["settings"]
    refused = run(env, "remove", theirs[0]["id"])
    assert (refused.returncode, "comes from the settings" in refused.stderr) == (1, True)


@pytest.mark.parametrize(
    ("code", "arguments", "says_why"),
    [
        (2, ["add", "https://10.0.0.1/"], "Private-Use"),
        (2, ["add", "https://app.example.com/", "--type", "job.nothing"], "job.nothing"),
        (2, ["add", "https://app.example.com/", "--header", "geheim"], "NAME=VALUE"),
        (2, ["add", "https://app.example.com/", "--header", "Host=geheim"], "headers"),
        (2, ["add", "mailto:jane@example.com"], "smtp_host"),
        (5, ["test", MISSING], MISSING),
        (5, ["rotate-secret", MISSING], MISSING),
        (5, ["remove", "../../jobs"], "404"),
    ],
    ids=str,
)
def test_an_exit_code_says_what_went_wrong(env: dict[str, str], code: int, arguments: list[str], says_why: str) -> None:
    ended = run(env, *arguments)
    assert (ended.returncode, "Traceback" in ended.stderr, ended.stdout) == (code, False, ""), ended.stderr
    assert says_why in ended.stderr
