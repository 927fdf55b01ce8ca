"""A SQLite file with the schema in it, had by copying one: to make it costs a sync to disk for each of its steps."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from replyhook_receiver.stores.sqlite import upkeep


def lay(path: Path) -> Path:
    """Put a new one there, unless there is one already; where it is."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(_new())
    return path


@cache
def _new() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "replyhook.db"
        upkeep.migrate(path)
        return path.read_bytes()
