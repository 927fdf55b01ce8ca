"""`replyhook keys` as a program: over the API, and on the database file beside a receiver that is busy."""

import json
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from replyhook.ids import new_id
from tests import program
from tests.stage import CLEAN, KEY, free_port, running, wait_for

MISSING = "key_06gzvyj6038xt427xgy6esgkjx"


@dataclass
class Place:
    url: str
    database: str
    env: dict[str, str]

    def run(self, *arguments: str, api: bool = True) -> subprocess.CompletedProcess[str]:
        return program.run("keys", *arguments, env=self.env if api else CLEAN)

    def done(self, *arguments: str, api: bool = True) -> subprocess.CompletedProcess[str]:
        ended = self.run(*arguments, api=api)
        assert ended.returncode == 0, ended.stderr
        return ended

    def status(self, key: str, path: str = "/v1/jobs") -> int:
        return httpx.get(f"{self.url}{path}", headers={"authorization": f"Bearer {key}"}, trust_env=False).status_code


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder, port = tmp_path_factory.mktemp("receiver"), free_port()
    env = CLEAN | {"REPLYHOOK_API_KEYS": KEY, "REPLYHOOK_PORT": str(port)}
    url = f"http://127.0.0.1:{port}"
    with running("serve", env=env, cwd=folder, output=folder / "serve.log") as receiver:
        wait_for(f"{url}/readyz", receiver)
        leads = CLEAN | {"REPLYHOOK_RECEIVER_URL": url, "REPLYHOOK_API_KEY": KEY}
        yield Place(url=url, database=str(folder / "replyhook-data/replyhook.db"), env=leads)
        log = (folder / "serve.log").read_text()
        assert not re.search("Traceback|rhk_|ERROR|WARNING", log), log


@pytest.mark.parametrize("where", ["api", "file"])
def test_a_key_is_made_listed_and_revoked(place: Place, where: str) -> None:
    api, on = where == "api", [] if where == "api" else ["--database", place.database]
    made = place.done("create", "--name", f"shop {where}", "--expires", "90d", *on, api=api)
    key = made.stdout.strip()
    assert re.fullmatch(r"rhk_[\w-]{43}", key)
    (key_id,) = set(re.findall(r"key_\w{26}", made.stderr))
    assert place.status(key) == 200
    assert place.status(key, "/v1/keys") == 403
    listed = place.done("list", *on, api=api)
    assert [word in listed.stdout for word in (key_id, key[:8], f"shop {where}", "read submit")] == [True] * 4
    assert key not in listed.stdout
    place.done("revoke", key_id, *on, api=api)
    assert place.status(key) == 401
    (shown,) = [each for each in json.loads(place.done("list", "-o", "json").stdout)["data"] if each["id"] == key_id]
    assert shown["state"] == "revoked"
    gone = place.run("revoke", MISSING, *on, api=api)
    assert (gone.returncode, MISSING in gone.stderr, "Traceback" in gone.stderr) == (5, True, False)


def test_a_users_key_is_told_in_json(place: Place) -> None:
    told = place.done(
        "create", "--scope", "read", "--scope", "operate", "--user", "u_7", "-o", "json", "--expires", "12h"
    )
    made = json.loads(told.stdout)
    assert (made["scopes"], made["user"], made["state"]) == (["operate", "read"], "u_7", "valid")
    assert place.status(made["key"], "/v1/refusals") == 403


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["create", "--scope", "root"], 2, "'root' is not one of"),
        (["create", "--expires", "soon"], 2, "wanted is 90d"),
        (["create", "--expires", "2020-01-01T00:00:00Z"], 2, "yet to come"),
        (["create", "--scope", "admin", "--user", "u_7"], 2, "administers nothing"),
        (["create", "--database", "/nowhere/replyhook.db"], 4, "start `replyhook serve` once"),
        (["create", "--database", __file__], 4, "cannot be used"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(place: Place, arguments: list[str], code: int, words: str) -> None:
    ended = place.run(*arguments)
    assert (ended.returncode, ended.stdout, "Traceback" in ended.stderr) == (code, "", False)
    assert words in ended.stderr


def test_a_file_of_another_schema_is_left_alone(place: Place, tmp_path: Path) -> None:
    for version, words in ((3, "brings it up to date"), (99, "upgrade")):
        path = tmp_path / f"{version}.db"
        with closing(sqlite3.connect(path)) as raw:
            raw.execute(f"PRAGMA user_version = {version}")
        ended = place.run("create", "--database", str(path), api=False)
        assert (ended.returncode, words in ended.stderr) == (4, True), ended.stderr


def test_a_file_that_is_locked_is_said_to_be(place: Place) -> None:
    with closing(sqlite3.connect(place.database, isolation_level=None)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        ended = place.run("create", "--database", place.database, api=False)
        raw.execute("ROLLBACK")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "locked" in ended.stderr


def test_keys_made_on_the_file_cost_a_busy_receiver_no_notification(place: Place) -> None:
    """The receiver counts the places of notifications itself: keys that are made beside it must not disturb that."""
    with ThreadPoolExecutor(3) as pool, httpx.Client(base_url=place.url, trust_env=False) as client:
        making = [pool.submit(place.done, "create", "--database", place.database, api=False) for _ in range(40)]
        refused, auth = 0, {"authorization": f"Bearer {KEY}"}
        while not all(each.done() for each in making):
            job = new_id("job")
            assert client.put(f"/v1/jobs/{job}", json={"provider": "useapi"}, headers=auth).status_code == 200
            answer = client.post(f"/v1/jobs/{job}/submission", json={"outcome": "refused"}, headers=auth)
            assert answer.status_code == 200
            refused += 1
        keys = [each.result().stdout.strip() for each in making]
    assert {place.status(key) for key in keys} == {200}
    with closing(sqlite3.connect(place.database)) as raw:
        first, last, count = raw.execute("SELECT min(sequence), max(sequence), count(*) FROM notifications").fetchone()
    assert (first, last, count) == (1, refused, refused)
    assert refused > 5
