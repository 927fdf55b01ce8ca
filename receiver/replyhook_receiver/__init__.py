"""The receiver: takes providers' callbacks, verifies them, keeps them, then downloads and notifies."""

from replyhook_receiver.config import Settings, load
from replyhook_receiver.web.app import create_app

__all__ = ["Settings", "create_app", "load"]
