"""What commands say where something is not set up: what to set, who was asked, and the exit code for it."""

from pathlib import Path

from tests import program
from tests.stage import KEY, free_port

CLEAN = {"PATH": "/usr/bin:/bin", "REPLYHOOK_API_KEY": KEY}


def run(*arguments: str, code: int, **env: str) -> str:
    done = program.run(*arguments, env=CLEAN | env)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    return done.stderr


def test_a_receiver_that_nobody_named_is_asked_for_by_its_variable() -> None:
    for command in (("jobs", "list"), ("keys", "create")):
        assert "set REPLYHOOK_RECEIVER_URL" in run(*command, code=4)


def test_a_receiver_that_is_away_is_named() -> None:
    away = f"127.0.0.1:{free_port()}"
    for command in (("jobs", "list"), ("events", "list")):
        said = run(*command, code=1, REPLYHOOK_RECEIVER_URL=f"http://{away}/geheim")
        assert away in said
        assert "geheim" not in said


def test_a_provider_that_there_is_not_is_a_wrong_use(tmp_path: Path) -> None:
    said = run("submit", str(tmp_path / "v.mp4"), "on", "--provider", "foo", code=2)
    assert "there is no provider 'foo'; there are aihubmax" in said
