"""The sandbox's settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from replyhook_receiver.sandbox.faults import Fault

EVERY_PROVIDER = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """Where the sandbox is reached and how it behaves.

    ``speed`` divides every simulated wait: a job's generation time and the waits between callback attempts. Real
    work takes what it takes. ``faults`` maps a provider, or ``"*"``, to the fault its jobs have by default.
    """

    base_url: str
    work_dir: Path
    api_key: str = field(default="sandbox-key", repr=False)
    speed: float = 1.0
    faults: Mapping[str, Fault] = field(default_factory=dict)
    fal_user_id: str = "sandbox-user"
    generation_seconds: float = 45.0

    def __post_init__(self) -> None:
        if self.speed <= 0:
            raise ValueError("speed must be greater than zero")
        if self.generation_seconds < 0:
            raise ValueError("generation_seconds must not be negative")

    @property
    def host(self) -> str:
        """The host that the sandbox's links name."""
        return urlsplit(self.base_url).hostname or ""

    def default_fault(self, provider: str) -> Fault:
        """The fault of a job of ``provider`` that asked for none."""
        return self.faults.get(provider, self.faults.get(EVERY_PROVIDER, Fault.NONE))
