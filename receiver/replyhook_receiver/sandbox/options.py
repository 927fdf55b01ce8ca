"""The sandbox's settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from replyhook_receiver.sandbox.faults import Fault

EVERY_PROVIDER = "*"
PIXVERSE_SIGNERS = ("python", "node", "go", "java")


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """Where the sandbox is reached and how it behaves.

    ``speed`` divides every simulated wait: a job's generation time and the waits between callback attempts. Real
    work takes what it takes. ``faults`` maps a provider, or ``"*"``, to the fault its jobs have by default.
    ``credits`` is how many jobs each provider bills before it has none left, ``max_concurrent`` how many it works on
    at once.

    ``pixverse_webhooks`` is PixVerse's console, webhook id to URL and secret; more can be added while it runs, and
    ``pixverse_secret`` is the secret of those that name none. ``pixverse_signer`` is the official sample after which
    callbacks are signed; with ``pixverse_resign`` a retry is signed anew.
    """

    base_url: str
    work_dir: Path
    api_key: str = field(default="sandbox-key", repr=False)
    speed: float = 1.0
    faults: Mapping[str, Fault] = field(default_factory=dict)
    fal_user_id: str = "sandbox-user"
    generation_seconds: float = 45.0
    credits: int | None = None
    max_concurrent: int | None = None
    slow_bytes_per_second: float = 4096.0
    aihubmax_evolink: bool = False  # results as plain strings, as EvoLink has them
    segmind_json: bool = False  # a blocking call answers with a link, not with the video itself
    pixverse_webhooks: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    pixverse_secret: str = field(default="sandbox-webhook-secret", repr=False)
    pixverse_signer: str = "node"
    pixverse_resign: bool = False

    def __post_init__(self) -> None:
        if self.speed <= 0:
            raise ValueError("speed must be greater than zero")
        if self.generation_seconds < 0:
            raise ValueError("generation_seconds must not be negative")
        if self.slow_bytes_per_second <= 0:
            raise ValueError("slow_bytes_per_second must be greater than zero")
        if self.max_concurrent is not None and self.max_concurrent < 1:
            raise ValueError("max_concurrent must be at least 1")
        if self.pixverse_signer not in PIXVERSE_SIGNERS:
            raise ValueError(f"pixverse_signer must be one of {', '.join(PIXVERSE_SIGNERS)}")

    @property
    def host(self) -> str:
        """The host that the sandbox's links name."""
        return urlsplit(self.base_url).hostname or ""

    def default_fault(self, provider: str) -> Fault:
        """The fault of a job of ``provider`` that asked for none."""
        return self.faults.get(provider, self.faults.get(EVERY_PROVIDER, Fault.NONE))
