"""Whether videos can be put where they are to be: said once when they cannot, and once when they can again."""

import logging

from replyhook_receiver.errors import StorageTrouble

_log = logging.getLogger(__name__)


class StorageState:
    """What the last try to store a video came to, in this process."""

    def __init__(self) -> None:
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """Why videos cannot be stored now; None where nothing speaks against it."""
        return self._problem

    def refuses(self, error: StorageTrouble) -> None:
        """A video could not be stored."""
        if self._problem is None:
            _log.error("storage trouble: %s; videos wait on this machine, callbacks are still taken", error)
        self._problem = str(error)

    def takes(self) -> None:
        """A video was stored."""
        if self._problem is not None:
            _log.warning("videos are stored again")
        self._problem = None
