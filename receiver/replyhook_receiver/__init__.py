"""The receiver: takes providers' callbacks, verifies them, keeps them, then downloads and notifies.

Its names are loaded when they are asked for, so that the command line can say what to install where parts are missing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from replyhook_receiver.config import Settings
    from replyhook_receiver.configuring import load
    from replyhook_receiver.web.app import create_app
    from replyhook_receiver.web.mounting import receiver_lifespan

__all__ = ["Settings", "create_app", "load", "receiver_lifespan"]

_HOMES = {
    "Settings": "config",
    "load": "configuring",
    "create_app": "web.app",
    "receiver_lifespan": "web.mounting",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
