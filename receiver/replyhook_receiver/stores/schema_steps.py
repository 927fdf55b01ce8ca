"""The numbered steps of each database's schema: the same number is the same state, whichever the database."""

from importlib import resources
from importlib.resources.abc import Traversable

from replyhook.errors import ConfigurationError


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
