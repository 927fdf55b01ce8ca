"""The public API holds its types under ``mypy --strict``."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "public_api.py"


def test_the_public_api_has_the_types_it_promises(pytestconfig: pytest.Config) -> None:
    pytest.importorskip("mypy", reason="mypy is a development tool and not installed here")
    cache = pytestconfig.cache.mkdir("mypy") if pytestconfig.cache else Path(".mypy_cache")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), str(PROGRAM)]
    done = subprocess.run(command, cwd=PROGRAM.parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
