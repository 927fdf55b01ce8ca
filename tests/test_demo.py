"""`replyhook demo` as its user runs it: a process of its own."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from replyhook.providers import PROVIDERS
from tests import program


def demo(
    tmp_path: Path, *arguments: str, run: Callable[..., subprocess.CompletedProcess[str]] = program.run
) -> tuple[int, dict[str, Any]]:
    command = ["demo", "--json", "--dir", str(tmp_path / "out"), *arguments]
    done = run(*command, env=dict(os.environ), cwd=tmp_path, timeout=120)
    return done.returncode, json.loads(done.stdout)


def test_every_provider_ends_with_a_playable_video_and_one_verified_notification(tmp_path: Path) -> None:
    code, result = demo(tmp_path, run=program.run_anew)
    assert code == 0, result
    assert result["ok"] is True
    assert sorted(job["provider"] for job in result["jobs"]) == sorted(PROVIDERS)
    for job in result["jobs"]:
        assert job["ok"]
        assert job["problem"] is None
        assert job["provider_calls"]["submit"] == 1
        assert job["provider_calls"]["status"] == 0
        with av.open(job["path"]) as video:
            assert video.duration is not None
            assert abs(video.duration / av.time_base - 7.0) < 0.1
            assert sum(1 for _ in video.decode(video=0)) > 7 * 20
        assert Path(job["path"]).stat().st_size == job["bytes"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fault", "forged", "--timeout", "25"], "the receiver refused"),
        (["--fault", "never", "--timeout", "12"], "never called back"),
        (["--fault", "failed"], "failed"),
        (["--listener-answer", "500"], "the listener answered 500"),
    ],
)
def test_a_step_that_is_unplugged_makes_it_fail_and_say_why(tmp_path: Path, arguments: list[str], said: str) -> None:
    code, result = demo(tmp_path, *arguments)
    assert code == 1
    assert result["ok"] is False
    broken = [job for job in result["jobs"] if not job["ok"]]
    assert len(broken) >= len(PROVIDERS) - 1  # a relayed answer cannot be forged
    for job in broken:
        assert said in job["problem"]
