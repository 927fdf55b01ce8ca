"""What the receiver keeps: its database, who else has it open, the disk, the place for videos."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from replyhook.errors import ConfigurationError
from replyhook_receiver.doctor.examined import Examined
from replyhook_receiver.doctor.findings import Finding, Outcome, fail, ok, warn
from replyhook_receiver.doctor.kept_in_postgres import check_postgres
from replyhook_receiver.errors import ReceiverTrouble
from replyhook_receiver.places import Bucket
from replyhook_receiver.storage.chosen import storage_for
from replyhook_receiver.stores.sqlite.connection import connect, schema_of, schema_steps

_DATABASE_NEEDS_BYTES = 100 * 1024**2
_PROBE = "doctor/probe"
_BUCKET_SECONDS = 20.0


def check_kept(examined: Examined) -> Iterator[Finding]:
    """The database first."""
    if examined.settings.postgres_url is not None:
        found = list(check_postgres(examined.settings.postgres_url))
        yield from found
        if found[0].outcome is not Outcome.FAIL:
            yield from _hold(examined)
    else:
        yield from _database(examined)
        yield from _hold(examined)
        yield _one_receiver(examined)
        yield _disk_of_database(examined)
    yield from _disk(examined)
    yield _storage(examined)
    if examined.settings.folder_to_share is not None:
        yield warn(
            "shared storage",
            f"videos go to the folder {examined.settings.folder_to_share}: fine only where all receivers and workers "
            "share it, on another machine they are not found",
            "set storage_url to an object store, or leave it if they all do",
        )


def _database(examined: Examined) -> Iterator[Finding]:
    path = examined.settings.database_path
    if not path.exists():
        there = _existing(path.parent)
        if examined.is_public and not any(examined.secrets.values()):
            found = f"neither {path} nor any key is there, but public_url is set: is this what the receiver runs with?"
            yield warn("database", found, "give doctor the receiver's --config, its environment and its data_dir")
        elif os.access(there, os.W_OK):
            yield ok("database", f"{path} is not there yet: `replyhook serve` makes it")
        else:
            yield fail("database", f"{there} cannot be written", "make it writable, or set data_dir")
        return
    try:
        schema = asyncio.run(_look_into(path))
    except ConfigurationError as error:
        yield fail("database", str(error), "is the file readable and writable for this user, and on a local disk?")
        return
    except sqlite3.Error as error:
        yield fail("database", f"{path} cannot be read ({error})", "restore it from its backup")
        return
    yield ok("database", f"{path}: WAL and FULL (each commit is synced) are in force, as the receiver opens it")
    yield from _readable_by_others(path)
    steps = schema_steps()
    pending = [step for step in steps if step > schema]
    if schema > steps[-1]:
        found = f"the database is of a newer replyhook (schema {schema}, this one's is {steps[-1]})"
        yield fail("schema", found, "upgrade replyhook; this version does not start with it")
    elif pending:
        found = f"{len(pending)} step{'s' * (len(pending) > 1)} behind (schema {schema}, newest {steps[-1]})"
        yield warn("schema", found, "back up the database, then restart `replyhook serve`: it takes the steps")
    else:
        yield ok("schema", f"{schema}, the newest")


def _readable_by_others(path: Path) -> Iterator[Finding]:
    """Whether the mode of a file of the database, and its folder's, let others in; new ones are made 0600."""
    others = stat.S_IXGRP | stat.S_IXOTH
    if not path.parent.stat().st_mode & others:
        return
    files = [path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))]
    read = [str(file) for file in files if file.exists() and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)]
    if read:
        found = f"others on this machine may read {read[0]}: callbacks, links and endpoints' secrets are in it"
        yield warn("database file", found, f"chmod 600 {' '.join(read)}")


def _hold(examined: Examined) -> Iterator[Finding]:
    """Whether the work was paused and forgotten: nothing else looks wrong then."""
    if examined.settings.postgres_url is None and not examined.settings.database_path.exists():
        return
    held = examined.rows("SELECT since_ms, reason FROM hold")
    if not held:
        yield ok("hold", "none: work is done as it is due")
        return
    since = datetime.fromtimestamp(held[0]["since_ms"] / 1000, UTC)
    why = f" ({held[0]['reason'][:100]})" if held[0]["reason"] else ""
    found = f"the work is on hold since {since:%Y-%m-%d %H:%M} UTC{why}: callbacks are kept, nothing is fetched or told"
    yield warn("hold", found, "`replyhook hold off` lets it go on; providers' links to videos end meanwhile")


async def _look_into(path: Path) -> int:
    """The schema's number, read over a connection like the receiver's own: it checks what has to be in force."""
    connection = await connect(path)
    try:
        return await connection.work(schema_of)
    finally:
        await connection.close()


def _one_receiver(examined: Examined) -> Finding:
    check, path = "one receiver", examined.settings.database_path
    holder, others = examined.holder, _processes_with(path)
    if holder is None and not others:
        return ok(check, "nobody serves the database now")
    if holder is None:
        numbers = ", ".join(str(pid) for pid in others)
        return warn(check, f"no `replyhook serve` holds {path}, but process {numbers} has it open", "what is it?")
    strangers = [pid for pid in others if pid != holder.pid] if holder.pid else []
    if strangers:
        found = f"{holder} serves the database, and process {', '.join(map(str, strangers))} has it open too"
        return warn(check, found, "end the other one, unless it only reads: two receivers must not share one file")
    return ok(check, f"{holder} alone serves the database")


def _processes_with(path: Path) -> list[int]:
    """The processes that have the file open, as far as the system tells (Linux, and those of the same user)."""
    with contextlib.suppress(OSError):
        wanted = path.stat()
        return sorted(int(process.name) for process in Path("/proc").glob("[0-9]*") if _has_open(process, wanted))
    return []


def _has_open(process: Path, wanted: os.stat_result) -> bool:
    if process.name == str(os.getpid()):
        return False
    with contextlib.suppress(OSError):
        for entry in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                found = entry.stat()
                if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                    return True
    return False


def _disk_of_database(examined: Examined) -> Finding:
    database = _existing(examined.settings.database_path.parent)
    free = shutil.disk_usage(database).free
    if free < _DATABASE_NEEDS_BYTES:
        found = f"{_size(free)} are left for the database at {database}"
        return fail("disk", found, "free some: without room callbacks are turned away with 503")
    return ok("disk", f"{_size(free)} are left for the database")


def _disk(examined: Examined) -> Iterator[Finding]:
    settings = examined.settings
    videos = _existing(settings.storage_path)
    free = shutil.disk_usage(videos).free
    if free < settings.min_free_disk_bytes:
        found = f"{_size(free)} are left where videos come in, less than min_free_disk_bytes"
        yield fail("disk for videos", found, "free some: until then no video is fetched, and links run out")
    else:
        yield ok("disk for videos", f"{_size(free)} are left where videos come in")


def _storage(examined: Examined) -> Finding:
    place = examined.settings.storage_place
    if isinstance(place, Bucket):
        return _bucket(examined, place)
    there = _existing(place)
    in_the_way = next((path for path in (place, *place.parents) if path.exists() and not path.is_dir()), None)
    if in_the_way is not None:
        return fail("storage", f"{in_the_way} is a file, and a folder is needed there", "set storage_url or data_dir")
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"ok")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return fail("storage", f"{there} cannot be written ({error.strerror})", "make it writable for this user")
    return ok("storage", f"{place} can be written" if place.is_dir() else f"{place} can be made")


def _bucket(examined: Examined, place: Bucket) -> Finding:
    where = f"{place.scheme}://{place.name}"

    async def try_it() -> None:
        storage = storage_for(examined.settings)
        async with asyncio.timeout(_BUCKET_SECONDS):
            await storage.put(_PROBE, b"ok")
            await storage.size(_PROBE)

    try:
        asyncio.run(try_it())
    except (ConfigurationError, ReceiverTrouble) as error:
        return fail(
            "storage", f"{where}: {error}", "check its name, the credentials and their rights (README: Storage)"
        )
    except TimeoutError:
        return fail("storage", f"{where} did not take a small object within {_BUCKET_SECONDS:g} s", "is it reachable?")
    return ok("storage", f"{where} takes objects and gives them back ({_PROBE} was written)")


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path


def _size(count: int) -> str:
    return f"{count / 1024**3:.1f} GiB" if count >= 1024**3 else f"{count / 1024**2:.0f} MiB"
