"""What a job was paid for, as far as its provider publishes it."""

from replyhook.jobs import ExtendRequest
from replyhook.pricing import Price
from replyhook.providers import Capabilities
from replyhook_receiver.records import JobRecord


def price_of(job: JobRecord, capabilities: Capabilities) -> Price | None:
    """The price of what was asked for; None where it is not published, or where nobody told us what was asked for."""
    duration, quality, audio = (job.request.get(name) for name in ("duration", "quality", "audio"))
    if not job.request:
        return None
    request = ExtendRequest(
        prompt="",
        duration=duration if isinstance(duration, int) else None,
        quality=quality if isinstance(quality, str) else None,
        audio=audio if isinstance(audio, bool) else None,
    )
    return capabilities.price(request)
