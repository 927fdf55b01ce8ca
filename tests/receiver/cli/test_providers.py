"""`replyhook providers`: the table of what each takes, and the URL to enter in a console."""

import os
import subprocess
from pathlib import Path

import pytest

from replyhook.providers import PROVIDERS, make_provider
from replyhook.tokens import TokenKeys
from replyhook_receiver.configuring import load
from replyhook_receiver.own_secrets import secrets_for
from tests import program
from tests.receiver.support import PUBLIC_URL, SIGNING_KEY, Host, a_receiver
from tests.receiver.web.test_account_callbacks import PIXVERSE, is_ok, pixverse_body, send
from tests.stage import CLEAN


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
