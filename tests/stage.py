"""Imitation providers and a receiver in processes of their own, as the README starts them, each ended by its pid."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import msgspec

from replyhook_receiver.serving import free_socket
from tests.program import PATIENCE, Program

KEY = "rhk_quick_start_key_0001"
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("REPLYHOOK_")}


def free_port() -> int:
    with free_socket() as bound:
        return int(bound.getsockname()[1])


@contextmanager
def running(*arguments: str, env: dict[str, str], cwd: Path, output: Path) -> Iterator[Program]:
    """One of our commands in a process of its own, interrupted at the end."""
    with output.open("ab") as file:
        process = Program(*arguments, env=env, cwd=cwd, stdout=file, stderr=file)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(timeout=PATIENCE)


def wait_for(url: str, process: "Program | subprocess.Popen[bytes]") -> None:
    """Wait until the process answers there."""
    for _ in range(1200):
        assert process.poll() is None, "the server ended"
        try:
            with urlopen(url, timeout=1):  # noqa: S310 - loopback
                return
        except (URLError, ConnectionError):
            time.sleep(0.05)
    raise AssertionError(f"no answer from {url}")


@dataclass
class Stage:
    """A sandbox and a receiver that run; ``env`` leads our programs to both."""

    folder: Path
    sandbox_url: str
    receiver_url: str
    env: dict[str, str]
    settings: dict[str, str] = field(default_factory=dict)
    """What the receiver is told besides, by the variable's name."""
    receiver: Program | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def source(self) -> str:
        """A video to extend."""
        return f"{self.sandbox_url}/_sandbox/source.mp4?seconds=1"

    def start_receiver(self) -> None:
        """Start the receiver on its port and its data; return when it is ready."""
        env = self.env | self.settings
        made = running("serve", env=env, cwd=self.folder, output=self.folder / "serve.log")
        self.receiver = self._stack.enter_context(made)
        wait_for(f"{self.receiver_url}/readyz", self.receiver)

    def kill_receiver(self) -> None:
        """`kill -9`."""
        assert self.receiver is not None
        self.receiver.kill()
        self.receiver.wait(timeout=PATIENCE)

    def calls(self, provider: str) -> dict[str, int]:
        """How often a provider was asked what."""
        with urlopen(f"{self.sandbox_url}/_sandbox/calls") as answer:  # noqa: S310 - loopback
            content: dict[str, Any] = msgspec.json.decode(answer.read())
        return dict(content.get(provider, {}))

    def close(self) -> None:
        self._stack.close()


@contextmanager
def a_stage(folder: Path, *, speed: float = 40, **settings: str) -> Iterator[Stage]:
    """Both, started; ``settings`` are further ones of the receiver's, by name without REPLYHOOK_."""
    sandbox_port, receiver_port = free_port(), free_port()
    exports = folder / "sandbox.env"
    arguments = ["sandbox", "--port", str(sandbox_port), "--speed", str(speed)]
    with running(*arguments, env=CLEAN, cwd=folder, output=exports) as sandbox:
        wait_for(f"http://127.0.0.1:{sandbox_port}/_sandbox/calls", sandbox)
        env = CLEAN | dict(re.findall(r"^export (\w+)=(.*)$", exports.read_text(), flags=re.MULTILINE))
        env |= {"REPLYHOOK_API_KEY": KEY, "REPLYHOOK_RECEIVER_URL": f"http://127.0.0.1:{receiver_port}"}
        stage = Stage(
            folder=folder,
            sandbox_url=f"http://127.0.0.1:{sandbox_port}",
            receiver_url=f"http://127.0.0.1:{receiver_port}",
            env=env,
            settings={"REPLYHOOK_API_KEYS": KEY, "REPLYHOOK_PORT": str(receiver_port)}
            | {f"REPLYHOOK_{name.upper()}": value for name, value in settings.items()},
        )
        try:
            stage.start_receiver()
            yield stage
        finally:
            stage.close()
