"""Where a command gets its settings from: flags, then the environment, then the file."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from replyhook_receiver.config import Settings
    from replyhook_receiver.configuring import Said

_CONFIG = "REPLYHOOK_CONFIG"
_USUAL = Path("replyhook.toml")


def settings_from(config: Path | None, flags: Mapping[str, Any] | None = None) -> "Settings":
    """The settings in force for a command; ``config`` is its ``--config``. Raises ``ConfigurationError``."""
    from replyhook_receiver.configuring import checked

    return checked(said_for(config, flags))


def said_for(config: Path | None, flags: Mapping[str, Any] | None = None) -> "Said":
    """What is said of them, and where, before it is checked. Raises ``ConfigurationError``."""
    from replyhook_receiver.configuring import gather

    return gather(environ_of_settings(), toml_file=config_file(config), flags=flags)


def config_file(config: Path | None) -> Path | None:
    """The settings file that is read: the ``--config`` of a command, or the environment's."""
    named = os.environ.get(_CONFIG)
    return config or (Path(named) if named else None)


def tell_of_unread_file(config: Path | None) -> None:
    """Say that the settings file in this folder is not read, where nobody has named any: it is easily thought so."""
    if config_file(config) is None and _USUAL.is_file():
        click.echo(f"note: {_USUAL} is here and is not read: --config {_USUAL} reads it", err=True)


def environ_of_settings() -> dict[str, str]:
    """The environment, without the name of the file."""
    return {name: value for name, value in os.environ.items() if name != _CONFIG}


def warn_of_a_folder_to_share(settings: "Settings") -> None:
    """Say at the start that on another machine a video in a folder here is not found."""
    folder = settings.folder_to_share
    if folder is not None:
        click.echo(
            f"warning: videos go to the folder {folder}, which is fine only where all receivers and workers of this "
            "PostgreSQL share it; else set storage_url to an object store",
            err=True,
        )
