"""A whole video on this machine that nobody has looked into yet, taken up again after a stop."""

from pathlib import Path

from anyio import to_thread

from replyhook_receiver.storage.files import sha256_of
from replyhook_receiver.storage.part import disk_errors, make_durable, open_alone, rejected_path, unchecked_path


class Settled:
    """Held by one at a time, as a part is. Raises ``PartInUse`` where somebody has it."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self.path = unchecked_path(target)
        self._file = open_alone(self.path)
        self.size = self.path.stat().st_size

    @classmethod
    def found(cls, target: Path) -> "Settled | None":
        """The one that waits to become ``target``, or None."""
        return cls(target) if unchecked_path(target).is_file() else None

    async def keep(self) -> str:
        """Let it be at its name; its SHA-256."""
        sha256 = await to_thread.run_sync(sha256_of, self.path)
        await to_thread.run_sync(self._rename)
        return sha256

    async def reject(self) -> None:
        """Put it aside."""
        await to_thread.run_sync(self.path.replace, rejected_path(self._target))

    def leave(self) -> None:
        """Let go of it."""
        self._file.close()

    def _rename(self) -> None:
        with disk_errors():
            make_durable(self._file, self.path, self._target)
