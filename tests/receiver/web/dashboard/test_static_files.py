"""What pages load: the vendored files are those they are said to be, kept for ever, and nothing else is answered."""

import hashlib
import re
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import pytest

from tests.receiver.support import Receiver, a_host, a_receiver

STATIC = files("replyhook_receiver.web.dashboard").joinpath("static")


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    async with a_host() as host, a_receiver(tmp_path, host) as receiver:
        yield receiver


def test_the_vendored_files_are_those_that_are_written_down_each_with_its_licence() -> None:
    table = re.findall(
        r"^\| `(\S+)` \|.*\| \w+, (\S+) \| `([0-9a-f]{64})` \|$", STATIC.joinpath("VENDORED.md").read_text(), re.M
    )
    assert {name for name, _, _ in table} == {each.name for each in STATIC.iterdir() if ".min." in each.name}
    for name, licence, expected in table:
        assert hashlib.sha256(STATIC.joinpath(name).read_bytes()).hexdigest() == expected
        assert STATIC.joinpath(licence).is_file()
        assert re.search(r"-\d+\.\d+\.\d+\.min\.", name)


async def test_a_file_is_kept_for_ever_under_the_name_of_its_contents(receiver: Receiver) -> None:
    page = (await receiver.client.get("/sign-in")).text
    paths = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert len(paths) >= 6
    for path in paths:
        answer = await receiver.client.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        older = await receiver.client.get(re.sub(r"/static/\w+/", "/static/0000/", path))
        assert older.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "name", ["VENDORED.md", "..%2fapp.py", "../app.py", "..%2ftemplates%2flayout.html", "none.js", "%00"]
)
async def test_nothing_else_is_answered(receiver: Receiver, name: str) -> None:
    assert (await receiver.client.get(f"/static/0000/{name}")).status_code == 404
