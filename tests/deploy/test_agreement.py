"""What the files of deploy/ say of replyhook, of each other, and of those who may read them, is so."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from replyhook.providers import PROVIDERS
from replyhook_receiver.cli import replyhook
from replyhook_receiver.config import Settings
from replyhook_receiver.configuring import load
from replyhook_receiver.serving import SHUTDOWN_SECONDS
from replyhook_receiver.work import worker
from tests.deploy.tools import DEPLOY

NO_SETTINGS = {"CONFIG", "DOMAIN", "UPSTREAMS", "SUBNET", "IMAGE", "SECRETS", "API_KEY", "RECEIVER_URL", "REPLY_KEYS"}
"""Variables that Compose, Caddy, the command line or a client read."""
NEEDED_SECONDS = SHUTDOWN_SECONDS + worker._STOP_SECONDS + 5
UNITS = ["replyhook.service", "replyhook-worker.service"]
TEXTS = {
    path: path.read_text(encoding="utf-8")
    for path in sorted(DEPLOY.rglob("*"))
    if path.is_file()
    and path.suffix != ".png"
    and path.name not in ("replyhook.example.toml", "grafana-board.json")
    and "secrets" not in path.parts
}
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
MANIFESTS: list[dict[str, Any]] = [
    document
    for path in TEXTS
    if "kustomize" in path.parts and path.suffix == ".yaml" and path.name != "kustomization.yaml"
    for document in yaml.safe_load_all(TEXTS[path])
]
PODS: list[dict[str, Any]] = [each["spec"]["template"]["spec"] for each in MANIFESTS if each["kind"] == "Deployment"]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_setting_that_is_named_exists(path: Path) -> None:
    for name in re.findall(r"\bREPLYHOOK_([A-Z_]+)", TEXTS[path]):
        if provider := re.fullmatch(r"PROVIDERS__([A-Z]+)__([A-Z_]+)", name):
            kind = PROVIDERS[provider[1].lower()]
            assert hasattr(kind(), provider[2].removesuffix("_FILE").lower()), name
        elif name not in NO_SETTINGS and not name.endswith("_"):
            assert name.removesuffix("_FILE").lower() in Settings.model_fields, name


def command_lines() -> Iterator[list[str]]:
    for unit in UNITS:
        yield shlex.split(re.findall(r"^ExecStart=\S*/(replyhook .+)$", TEXTS[DEPLOY / unit], flags=re.MULTILINE)[0])
    for service in SERVICES.values():
        if "command" in service and service["command"][0] == "replyhook":
            yield service["command"]
    for pod in PODS:
        yield from (container["args"] for container in pod["containers"])
    for found in re.findall(r"^\s*dockerCommand: (.+)$", TEXTS[DEPLOY / "render.yaml"], flags=re.MULTILINE):
        yield shlex.split(found)
    for found in re.findall(r'^CMD \["replyhook", "(.+)"\]$', TEXTS[DEPLOY / "Dockerfile"], flags=re.MULTILINE):
        yield ["replyhook", found]
    for block in re.findall(r"^```sh\n(.*?)^```", TEXTS[DEPLOY / "README.md"], flags=re.DOTALL | re.MULTILINE):
        for line in re.sub(r"\$\([^)]*\)", "X", block.replace("\\\n", " ")).splitlines():
            for found in re.findall(r"(?:^\s*|/bin/)(replyhook [^#|;&>)]+)", line.partition("#")[0]):
                yield shlex.split(found)


@pytest.mark.parametrize("line", sorted({" ".join(line) for line in command_lines()}))
def test_every_command_line_is_one_of_ours(line: str) -> None:
    command: click.Command = replyhook
    words = line.split()[1:]
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    command.make_context(command.name, words)


def test_all_agree_on_the_port_and_the_paths_of_health() -> None:
    manifests = [container for pod in PODS for container in pod["containers"]]
    fly = tomllib.loads(TEXTS[DEPLOY / "fly.toml"])
    assert {port["containerPort"] for each in manifests for port in each.get("ports", [])} == {8080}
    assert fly["http_service"]["internal_port"] == int(fly["env"]["REPLYHOOK_PORT"]) == 8080
    assert "EXPOSE 8080\n" in TEXTS[DEPLOY / "Dockerfile"]
    assert "ListenStream=127.0.0.1:8080\n" in TEXTS[DEPLOY / "replyhook.socket"]
    upstreams = [
        each["environment"]["REPLYHOOK_UPSTREAMS"].split() for name, each in SERVICES.items() if "caddy" in name
    ]
    assert upstreams == [["receiver:8080"], ["receiver-1:8080", "receiver-2:8080"]]
    assert {name.partition(":")[0] for each in upstreams for name in each} <= set(SERVICES)
    everything = "\n".join(TEXTS.values())
    assert set(re.findall(r"(?<=\W)/(?:healthz|readyz|health\w*|ready\w*)\b", everything)) == {"/healthz", "/readyz"}


def test_whoever_ends_a_receiver_waits_until_it_has_ended() -> None:
    told = [int(TEXTS[DEPLOY / unit].split("TimeoutStopSec=")[1].split()[0]) for unit in UNITS]
    told += [int(each["stop_grace_period"].rstrip("s")) for name, each in SERVICES.items() if is_ours(each)]
    told += [pod["terminationGracePeriodSeconds"] - 5 for pod in PODS]  # 5 go before, in preStop
    told += [int(tomllib.loads(TEXTS[DEPLOY / "fly.toml"])["kill_timeout"].rstrip("s"))]
    told += [each["maxShutdownDelaySeconds"] for each in yaml.safe_load(TEXTS[DEPLOY / "render.yaml"])["services"]]
    assert min(told) >= NEEDED_SECONDS


@pytest.mark.parametrize("folder", ["base", "overlays/scale"])
def test_the_settings_for_kubernetes_load(tmp_path: Path, folder: str) -> None:
    for name in ("signing_keys", "api_keys", "notification_secrets"):
        (tmp_path / name).write_text("whsec_" + "a" * 43 + "=")
    env = {f"REPLYHOOK_{name.upper()}_FILE": str(tmp_path / name) for name in ("signing_keys", "api_keys")}
    settings = load(env, toml_file=DEPLOY / "kustomize" / folder / "replyhook.toml")
    assert (settings.host, settings.port, str(settings.data_dir)) == ("0.0.0.0", 8080, "/data")  # noqa: S104 - in a pod


def is_ours(service: dict[str, Any]) -> bool:
    return "REPLYHOOK_PUBLIC_URL" in service.get("environment", {})


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_of_compose_can_do_no_more_than_it_must(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if "caddy" in name else [])
    assert is_ours(service) or re.search(r"@sha256:[0-9a-f]{64}\}$", service["image"]), "an image is not pinned"
    assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
    assert len(service["profiles"]) == 1
    for variable, value in service.get("environment", {}).items():
        if variable.endswith("_FILE") and value.startswith("/run/secrets/"):
            assert value.removeprefix("/run/secrets/") in service["secrets"]


def test_whoever_brings_or_serves_videos_has_the_folder_they_are_in_and_the_keys_of_an_object_store() -> None:
    ours = {name: each for name, each in SERVICES.items() if is_ours(each)}
    assert {"receiver", "receiver-1", "worker-1"} < set(ours)
    (owned,) = re.findall(
        r"^RUN install --directory --owner=10001 .*?(/.*)$", TEXTS[DEPLOY / "Dockerfile"], re.MULTILINE
    )
    for name, each in ours.items():
        (place,) = re.findall(r"\$\{REPLYHOOK_STORAGE_URL:-(.*)\}", each["environment"]["REPLYHOOK_STORAGE_URL"])
        folder = place.removeprefix("file://") or "/data"
        assert folder in [volume.partition(":")[2] for volume in each["volumes"]], name
        assert folder in owned.split(), "a new volume would be root's"
        (file,) = each["env_file"]
        assert file == {"path": "${REPLYHOOK_SECRETS:-./secrets}/storage.env", "required": False}


def test_compose_can_be_tried_without_a_bucket_for_backups() -> None:
    tried = [each for each in SERVICES.values() if each["profiles"] == ["default"]]
    assert tried
    assert not any("backup_credentials" in each.get("secrets", []) for each in tried)


def test_caddys_word_is_believed_where_caddy_is() -> None:
    (network,) = COMPOSE["networks"]["edge"]["ipam"]["config"]
    assert {each["environment"]["REPLYHOOK_TRUSTED_PROXIES"] for each in SERVICES.values() if is_ours(each)} == {
        network["subnet"]
    }


@pytest.mark.parametrize("pod", PODS, ids=lambda pod: pod["containers"][0]["name"])
def test_a_pod_can_do_no_more_than_it_must_and_is_told_no_ports_by_kubernetes(pod: dict[str, Any]) -> None:
    assert pod["enableServiceLinks"] is False, "a Service called replyhook would set REPLYHOOK_PORT"
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_image_is_never_root_and_its_base_is_pinned() -> None:
    lines = TEXTS[DEPLOY / "Dockerfile"].splitlines()
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert set(bases) == {"${PYTHON_IMAGE}@${PYTHON_DIGEST}", "installed"}
    assert re.search(r"^ARG PYTHON_DIGEST=sha256:[0-9a-f]{64}$", "\n".join(lines), flags=re.MULTILINE)
    assert [line for line in lines if line.startswith(("FROM", "USER"))][-2:] == [
        "FROM installed AS receiver",
        "USER 10001:10001",
    ]


def test_no_secret_is_kept_with_the_files() -> None:
    assert not [each for each in MANIFESTS if each["kind"] == "Secret"]
    for path, text in TEXTS.items():
        assert not re.search(r"(whsec_|rhk_)[A-Za-z0-9+/_-]{20}", text), path


def test_secrets_are_made_once_and_are_what_the_receiver_takes(tmp_path: Path) -> None:
    folder = tmp_path / "etc/made"
    made = [folder / name for name in COMPOSE["secrets"] if name != "backup_credentials"]
    seen = []
    for _ in range(2):
        subprocess.run(["sh", str(DEPLOY / "make-secrets.sh"), str(folder), "postgres"], check=True)  # noqa: S607 - the one on the path
        seen.append({path.name: path.read_text() for path in made})
    contents = seen[0]
    assert seen[1] == contents
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o055 == 0o055, "the settings beside it cannot be read"
    assert contents["database_url"] == f"postgresql://replyhook:{contents['postgres_password']}@postgres:5432/replyhook"
    named = {path.name for path in folder.iterdir()}
    for unit in UNITS:
        for credential, file in re.findall(
            r"^LoadCredential=(\w+):\S+/(\w+)$", TEXTS[DEPLOY / unit], flags=re.MULTILINE
        ):
            assert credential == file
            assert file in named
            assert f"Environment=REPLYHOOK_{credential.upper()}_FILE=%d/{credential}\n" in TEXTS[DEPLOY / unit]
    env = {f"REPLYHOOK_{path.name.upper()}_FILE": str(path) for path in made[:3]}
    settings = load(env | {"REPLYHOOK_HOST": "0.0.0.0"})  # noqa: S104 - keys are there
    assert settings.signing_keys[0].get_secret_value() == contents["signing_keys"]
    assert settings.notification_secrets


def test_an_operators_commands_have_the_services_settings_folder_and_secrets(tmp_path: Path) -> None:
    """With the settings that the page has one write, and the script's paths moved here."""
    etc, program = tmp_path / "etc", Path(sys.executable).with_name("replyhook")
    script = TEXTS[DEPLOY / "replyhook-admin.sh"].replace("/etc/replyhook", str(etc))
    subprocess.run(["sh", str(DEPLOY / "make-secrets.sh"), str(etc / "secrets"), "postgres"], check=True)  # noqa: S607
    (etc / "secrets/database_url").unlink()
    (etc / "secrets/providers__fal__api_key").write_text("a-key-of-fals")
    (toml,) = re.findall(r"<< 'TOML'\n(.*?)^TOML", TEXTS[DEPLOY / "README.md"], flags=re.DOTALL | re.MULTILINE)
    assert 'data_dir = "/var/lib/replyhook"' in toml, "where StateDirectory= is"
    (etc / "replyhook.toml").write_text(toml)
    admin = tmp_path / "admin"
    admin.write_text(script.replace("/opt/replyhook/bin/replyhook", str(program)))
    command = ["sh", str(admin), "config", "show", "--set", "--json"]
    done = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True)
    found = {each["name"]: each["value"] for each in json.loads(done.stdout)["settings"]}
    assert found["data_dir"] == "/var/lib/replyhook"
    assert found["providers.fal.api_key"]
    assert {"signing_keys", "api_keys", "notification_secrets"} < set(found)
    assert "postgres_password" not in done.stdout + done.stderr
