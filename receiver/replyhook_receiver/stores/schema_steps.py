"""The numbered steps of each database's schema: the same number is the same state, whichever the database."""

from importlib import resources
from importlib.resources.abc import Traversable

from replyhook.errors import ConfigurationError

COPY = "replyhook_copy"
"""A table that is there while a database is being filled by `replyhook db copy`, and says how far that has come."""

HALF_COPIED = ConfigurationError(
    "the database is a copy that was not finished: run the same replyhook db copy again, which goes on where it was cut"
)


def steps(database: str) -> list[Traversable]:
    """The files of ``database``, in order."""
    folder = resources.files("replyhook_receiver.stores") / "migrations" / database
    return sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=number_of)


def newest(database: str) -> int:
    """The number of the last step that there is."""
    return number_of(steps(database)[-1])


def pending_steps(database: str, current: int) -> list[Traversable]:
    """The steps after ``current``. Raises ``ConfigurationError`` for a schema that is newer than all of them."""
    if current > newest(database):
        raise ConfigurationError(
            f"the database is from a newer replyhook (schema {current}, ours is {newest(database)}): upgrade"
        )
    return [step for step in steps(database) if number_of(step) > current]


def number_of(step: Traversable) -> int:
    """A step's number."""
    return int(step.name[:4])
