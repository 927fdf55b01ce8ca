"""What a service manager hands over: one listening TCP socket, by its address's rules; anything else is refused."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from replyhook_receiver.service_manager import READY, inherited_socket, teller
from tests.stage import CLEAN

ACTIVATE = 'exec 3<&"$0"; export LISTEN_PID=$$; exec "$@"'
NOT_CONFIGURED = 4


def refused(folder: Path, descriptor: int, *, count: str = "1", **env: str) -> str:
    """What `replyhook serve` says that was handed ``descriptor`` and will not serve."""
    ended = subprocess.run(
        ["bash", "-c", ACTIVATE, str(descriptor), sys.executable, "-m", "replyhook_receiver", "serve"],  # noqa: S607 - the one on the path
        env=CLEAN | {"LISTEN_FDS": count} | env, cwd=folder, pass_fds=(descriptor,),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == NOT_CONFIGURED, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])  # noqa: S104 - what is to be refused
def test_a_public_socket_that_is_handed_over_needs_configured_keys_as_a_public_host_does(
    tmp_path: Path, address: str
) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as held:
        words = refused(tmp_path, held.fileno(), REPLYHOOK_HOST="127.0.0.1")
    assert f"listening on {address} needs" in words
    assert "REPLYHOOK_SIGNING_KEYS" in words
    assert not (tmp_path / "replyhook-data").exists(), "no key was made"


@pytest.mark.parametrize(("count", "says"), [("2", "one listening socket"), ("-1", "LISTEN_FDS='-1'")])
def test_more_than_one_socket_is_refused_in_words(tmp_path: Path, count: str, says: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        assert says in refused(tmp_path, held.fileno(), count=count)


def test_what_is_no_listening_tcp_socket_is_refused_in_words(tmp_path: Path) -> None:
    with ExitStack() as stack:
        others = [
            stack.enter_context((tmp_path / "file").open("w")),
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)),
            stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)),
            stack.enter_context(socket.socket()),  # it does not listen
        ]
        for other in others:
            assert "ListenStream=127.0.0.1:8080" in refused(tmp_path, other.fileno())


def test_what_is_meant_for_another_process_is_not_taken_and_nobody_sees_the_variables_again() -> None:
    environ = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getppid()), "LISTEN_FDNAMES": "x", "PATH": "/bin"}
    assert inherited_socket(environ) is None
    assert environ == {"PATH": "/bin"}


def test_a_service_manager_that_does_not_listen_disturbs_nothing(tmp_path: Path) -> None:
    for place in ("", str(tmp_path / "nobody"), "@nobody-listens-here", "x" * 200):
        teller({"NOTIFY_SOCKET": place})(READY)


def test_a_service_manager_in_the_abstract_namespace_hears_it() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(b"\0replyhook-test-%d" % os.getpid())
        teller({"NOTIFY_SOCKET": f"@replyhook-test-{os.getpid()}"})(READY)
        manager.settimeout(30)
        assert manager.recv(100) == b"READY=1"
