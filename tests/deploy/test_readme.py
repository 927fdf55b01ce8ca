"""The commands of deploy/README.md that need nothing but replyhook, run as they stand there."""

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from replyhook import Client
from replyhook.ids import new_id
from replyhook.tokens import TokenKeys
from replyhook_receiver.configuring import load
from tests.deploy.tools import DEPLOY, ROOT
from tests.stage import a_stage, free_port, running, wait_for

README = (DEPLOY / "README.md").read_text(encoding="utf-8")
RUN = {"secrets", "kustomize", "backup", "restore", "dump", "undump", "restored", "rotate", "upgrade", "laptop"}
"""The blocks with a mark, run here or in test_dump.py. Others need root, systemd, Docker, a cluster or an account."""


def block(mark: str) -> str:
    found = re.search(rf"^<!-- {mark} -->\n```sh\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def shell(program: str, folder: Path, env: dict[str, str]) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    command = ["bash", "-c", "set -euo pipefail\n" + program]
    done = subprocess.run(
        command, env=env | {"PATH": path}, cwd=folder, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_block_with_a_mark_is_run() -> None:
    assert set(re.findall(r"^<!-- (\w+) -->\n```", README, flags=re.MULTILINE)) == RUN


def test_whatever_the_page_links_to_is_there() -> None:
    headings = re.findall(r"^#+ (.+)$", README, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.removeprefix("#") in anchors if target.startswith("#") else (DEPLOY / target).exists(), target


def test_keys_that_were_made_are_rotated_and_old_reply_urls_go_on_working(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY, tmp_path / "deploy", ignore=shutil.ignore_patterns("secrets"))
    env = {"PATH": os.environ["PATH"]}
    shell(block("secrets"), tmp_path, env)
    path = tmp_path / "deploy/secrets/signing_keys"
    job = new_id("job")
    before = TokenKeys([path.read_text()]).mint(provider="useapi", job_id=job, now=datetime.now(UTC))
    shell(block("rotate"), tmp_path, env)
    keys = [key.get_secret_value() for key in load({"REPLYHOOK_SIGNING_KEYS_FILE": str(path)}).signing_keys]
    assert len(keys) == 2
    assert TokenKeys(keys).read(before, provider="useapi").job_id == job
    assert path.stat().st_mode & 0o777 == 0o444


def test_kustomize_builds_as_written() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed, and Debian has none (WITHOUT_KUSTOMIZE)")
    assert "kind: Deployment" in shell(block("kustomize"), ROOT, dict(os.environ))


def test_a_backup_made_as_written_is_restored_as_written(tmp_path: Path) -> None:
    with a_stage(tmp_path, speed=60) as stage, Client.from_env(stage.env) as client:
        job = client.submit(provider="fal", video=stage.source, prompt="on", duration=5, quality="540p")
        job.wait(60)
        shell(block("backup"), tmp_path, stage.env)
    shutil.rmtree(tmp_path / "replyhook-data")
    *preparing, serve = block("restore").splitlines()
    assert serve == "replyhook serve --data-dir restored --port 8081"
    shell("\n".join(preparing), tmp_path, stage.env)
    port = free_port()
    words = ["serve", "--data-dir", "restored", "--port", str(port)]
    with running(*words, env=stage.env | stage.settings, cwd=tmp_path, output=tmp_path / "log") as again:
        wait_for(f"http://127.0.0.1:{port}/readyz", again)
        key = stage.settings["REPLYHOOK_API_KEYS"]
        asked = Request(f"http://127.0.0.1:{port}/v1/jobs/{job.id}/video", headers={"authorization": f"Bearer {key}"})
        with urlopen(asked) as answer:  # noqa: S310 - loopback
            assert answer.read(8)[4:] == b"ftyp"


def test_upgrading_and_a_laptop_are_as_written(tmp_path: Path) -> None:
    (tmp_path / "replyhook.toml").write_text("")
    with a_stage(tmp_path, speed=60) as stage:
        assert "0." in shell(block("upgrade"), tmp_path, stage.env | stage.settings)
        assert re.search(r"callback +applied, token_only: succeeded", shell(block("laptop"), tmp_path, stage.env))
