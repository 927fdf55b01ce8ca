"""`replyhook providers`: the table of what each takes, and the URL to enter in a console."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replyhook.messages import HTTPResponse
from replyhook.providers import PROVIDERS, make_provider
from replyhook.tokens import TokenKeys
from replyhook_receiver.configuring import load
from replyhook_receiver.doctor.providers import check_told
from replyhook_receiver.own_secrets import secrets_for
from tests import program
from tests.receiver.support import PUBLIC_URL, SIGNING_KEY, Host, a_receiver
from tests.receiver.web.test_account_callbacks import PIXVERSE, is_ok, pixverse_body, send
from tests.stage import CLEAN, Stage, a_stage


def replyhook(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command, in a folder of its own."""
    return program.run("providers", *arguments, cwd=folder, env=CLEAN | environ)


def test_the_list_is_a_markdown_table_with_a_column_for_each_provider(tmp_path: Path) -> None:
    done = program.run_anew("providers", "list", env=CLEAN, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    table = [line for line in done.stdout.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    titles = [make_provider(name).capabilities.title for name in sorted(PROVIDERS)]
    assert cells[0] == ["", *titles]
    assert set(cells[1]) == {"---"}
    assert {len(row) for row in cells} == {len(PROVIDERS) + 1}
    assert all(cell for row in cells[2:] for cell in row)
    rows = {row[0]: dict(zip(sorted(PROVIDERS), row[1:], strict=True)) for row in cells[2:]}
    assert rows["callback signed"] == {
        "aihubmax": "no", "fal": "yes", "pixverse": "yes", "segmind": "no", "useapi": "no"
    }  # fmt: skip
    assert rows["calls back by"]["pixverse"] == "one webhook per account"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("account", ["default", "second"])
async def test_the_url_printed_is_one_that_the_receiver_accepts(tmp_path: Path, host: Host, account: str) -> None:
    named = ["--account", account] if account != "default" else []
    done = replyhook(
        tmp_path, "url", "pixverse", *named, REPLYHOOK_SIGNING_KEYS=SIGNING_KEY, REPLYHOOK_PUBLIC_URL=PUBLIC_URL
    )
    assert (done.returncode, done.stderr) == (0, "")
    (url,) = done.stdout.splitlines()
    secret = PIXVERSE["accounts"].get(account, PIXVERSE["webhook_secrets"])[0]
    async with a_receiver(tmp_path, host, providers={"pixverse": PIXVERSE}) as receiver:
        _, reply_path = await receiver.register("pixverse", account=account)
        assert url == PUBLIC_URL + reply_path
        assert is_ok(await send(receiver, pixverse_body(), path=url.removeprefix(PUBLIC_URL), secret=secret))


def test_on_loopback_it_is_signed_with_the_keys_that_the_receiver_will_use(tmp_path: Path) -> None:
    none = replyhook(tmp_path, "url", "pixverse", REPLYHOOK_DATA_DIR=str(tmp_path))
    assert (none.returncode, none.stdout, "--data-dir" in none.stderr) == (4, "", True)
    assert not (tmp_path / "secrets.json").exists(), "what prints makes no keys"
    keys = TokenKeys(secrets_for(load({"REPLYHOOK_DATA_DIR": str(tmp_path)})).signing_keys)
    done = [replyhook(tmp_path, "url", "pixverse", REPLYHOOK_DATA_DIR=str(tmp_path)) for _ in range(2)]
    assert done[0].returncode == 0, done[0].stderr
    assert done[0].stdout == done[1].stdout
    assert "REPLYHOOK_PUBLIC_URL" in done[0].stderr
    assert keys.read(done[0].stdout.strip().rpartition("/")[2], provider="pixverse").account == "default"


@pytest.mark.parametrize("name", ["fal", "useapi", "aihubmax", "segmind"])
def test_where_there_is_no_console_it_says_that_there_is_nothing_to_enter(tmp_path: Path, name: str) -> None:
    done = replyhook(tmp_path, "url", name)
    assert (done.returncode, done.stdout) == (4, "")
    assert "nothing to enter" in done.stderr
    assert "Traceback" not in done.stderr
    # Nobody tells Segmind a URL: it calls nobody back.
    assert ("told a URL with each job" in done.stderr) == (name != "segmind")


def test_an_unknown_provider_is_a_usage_error(tmp_path: Path) -> None:
    assert replyhook(tmp_path, "url", "nobody").returncode == 2


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    pytest.importorskip("av", reason="the sandbox makes real videos")
    with a_stage(tmp_path_factory.mktemp("stage"), speed=60, providers__fal__user_ids="") as running:
        done = program.run("trigger", "fal.succeeded", env=running.env, cwd=running.folder)
        assert done.returncode == 0, done.stderr
        yield running


def checked(folder: Path, *arguments: str, code: int, **environ: str) -> dict[str, dict[str, Any]]:
    done = replyhook(folder, "check", "-o", "json", *arguments, **environ)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] is (code == 0)
    assert all(each["todo"] for each in told["checks"] if each["outcome"] != "ok")
    return {each["check"]: each for each in told["checks"]}


@pytest.mark.parametrize("where", ["the receiver that runs", "--local"])
def test_what_is_set_up_aright_is_so_for_the_receiver_and_for_the_settings(stage: Stage, where: str) -> None:
    env, flags = (stage.env, []) if where != "--local" else (stage.env | stage.settings, ["--local"])
    found = checked(stage.folder, *flags, code=0, **env)
    assert {name for name, each in found.items() if each["outcome"] == "fail"} == set()
    assert {f"provider {name}" for name in PROVIDERS} < set(found)
    for name in ("provider fal", "pixverse webhook", "fal reply URLs", "fal public keys", "fal media hosts"):
        assert found[name]["outcome"] == "ok", found[name]
    assert found["fal reply URLs"]["found"].startswith(f"{stage.receiver_url}/callbacks/fal/")
    assert found["fal user"]["found"].startswith("pinned to ")
    assert found["fal last callback"]["found"].startswith("20")
    assert found["useapi last callback"]["found"] == "none yet"
    one = replyhook(stage.folder, "check", "pixverse", *flags, **env)
    assert one.returncode == 0
    assert {line.split()[1] for line in one.stdout.splitlines() if line[:2] in ("ok", "wa")} == {"provider", "pixverse"}
    shown = json.dumps(found) + one.stdout + one.stderr
    secrets = [value for name, value in env.items() if name.endswith(("_KEY", "_SECRETS")) and len(value) > 6]
    assert secrets
    assert [secret for secret in secrets if secret in shown] == []


def test_what_is_wrong_with_a_provider_is_told_with_what_mends_it(tmp_path: Path) -> None:
    prefix = "REPLYHOOK_PROVIDERS__"
    given = {f"{prefix}PIXVERSE__API_KEY": "px-geheim", f"{prefix}AIHUBMAX__API_KEY": "ai-geheim"}
    found = checked(tmp_path, "--local", code=1, **given)
    assert "`replyhook providers url pixverse`" in found["provider pixverse"]["todo"]
    assert "https://platform.pixverse.ai/webhook" in found["pixverse webhook"]["todo"]
    assert found["aihubmax reply URLs"]["outcome"] == "fail"
    assert "REPLYHOOK_PUBLIC_URL" in found["aihubmax reply URLs"]["todo"]
    assert "providers.aihubmax.media_hosts" in found["aihubmax media hosts"]["todo"]
    assert found["provider segmind"]["found"] == "not set up, and no jobs"
    public = checked(tmp_path, "aihubmax", "--public-url", PUBLIC_URL, code=0, **given)
    assert public["aihubmax reply URLs"]["outcome"] == "ok"
    assert set(public) == {f"{what}aihubmax{more}" for what, more in (
        ("provider ", ""), ("", " reply URLs"), ("", " media hosts"), ("", " last callback")
    )}  # fmt: skip
    assert replyhook(tmp_path, "check", "aihubmax", "--public-url", PUBLIC_URL, "--strict", **given).returncode == 1


def test_one_that_is_named_is_wanted_and_others_without_a_key_are_passed_over(tmp_path: Path) -> None:
    assert set(checked(tmp_path, "--local", code=0)) == {f"provider {name}" for name in PROVIDERS}
    assert "SEGMIND_API_KEY" in checked(tmp_path, "segmind", "--local", code=1)["provider segmind"]["todo"]
    closed = {"REPLYHOOK_PROVIDERS__FAL__JWKS_URL": "http://127.0.0.1:9/", "REPLYHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}
    found = checked(tmp_path, "fal", "--public-url", PUBLIC_URL, code=1, **closed)
    assert (found["provider fal"]["outcome"], found["fal public keys"]["outcome"]) == ("warn", "fail")
    nowhere = replyhook(tmp_path, "check")
    assert (nowhere.returncode, "REPLYHOOK_RECEIVER_URL" in nowhere.stderr) == (4, True)
    assert "--local" in nowhere.stderr
    assert replyhook(tmp_path, "check", "nobody").returncode == 2


def test_a_receiver_that_does_not_tell_enough_yet_is_said_to_be_older() -> None:
    older = HTTPResponse(status=200, headers={}, body=b'{"data": [{"name": "fal", "has_key": true}]}')
    (finding,) = check_told(older, ())
    assert (finding.outcome, "older" in finding.found) == ("fail", True)
