"""What our tests start by fork is a process as any other: only its own environment, streams and end."""

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests import program
from tests.stage import CLEAN, free_port, running, wait_for


def test_a_command_has_the_environment_that_it_is_given_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLYHOOK_PORT", "1")
    for env, port in (({}, 8080), ({"REPLYHOOK_PORT": "2"}, 2)):
        shown = json.loads(program.run("config", "show", "--json", env=env, cwd=tmp_path).stdout)
        assert {each["value"] for each in shown["settings"] if each["name"] == "port"} == {port}


@pytest.mark.parametrize("words", [("version",), ("nonsense",), ("jobs", "list"), ("--help",)])
def test_it_says_and_ends_as_an_interpreter_that_begins(tmp_path: Path, words: tuple[str, ...]) -> None:
    forked, begun = (run(*words, env=CLEAN, cwd=tmp_path) for run in (program.run, program.run_anew))
    assert (forked.returncode, forked.stdout, forked.stderr) == (begun.returncode, begun.stdout, begun.stderr)


def test_one_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        program.run("sandbox", "--port", "0", env=CLEAN, cwd=tmp_path, timeout=0.5)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_a_server_has_a_process_of_its_own_with_nothing_of_ours(tmp_path: Path, number: int, code: int) -> None:
    port = free_port()
    with (
        running("sandbox", "--port", "0", env=CLEAN, cwd=tmp_path, output=tmp_path / "log"),
        running("sandbox", "--port", str(port), env=CLEAN, cwd=tmp_path, output=tmp_path / "log") as server,
    ):
        wait_for(f"http://127.0.0.1:{port}/_sandbox/calls", server)
        if Path("/proc/self/fd").exists():
            theirs, *others = (opened(pid) for pid in (server.pid, parent_of(server.pid), os.getpid()))
            assert [each & theirs for each in others] == [set(), set()]
        server.send_signal(number)
        assert server.wait(program.PATIENCE) == code
    assert server.poll() == code


def opened(pid: int) -> set[str]:
    """The sockets and pipes that it has."""
    links = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that looked
            links.append(os.readlink(each))
    return {link for link in links if link.startswith(("socket:", "pipe:"))}


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
