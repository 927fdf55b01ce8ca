"""What an extend costs where the provider publishes it, in US dollars; each provider's own figures stand in its file.

fal publishes a table by the second (its model page, seed 002, read November 2026), Segmind a range by the job
(https://www.segmind.com/models/pixverse-5-extend/api, PROVIDERS §4.5, read November 2026). PixVerse and useapi.net sell
credits and AIHubMax shows its figures to its customers: what an extend costs there is not published.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one job costs, in US dollars: from ``lowest`` to ``highest``, which are the same where it is exact."""

    lowest: Decimal
    highest: Decimal

    def __str__(self) -> str:
        return f"${self.lowest}" if self.lowest == self.highest else f"${self.lowest} to ${self.highest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PricePerSecond:
    """Dollars by the second that is generated, by quality and whether with audio.

    The seconds are taken to be those that are added: that the given ones are free is our reading of "per second of
    video generated".
    """

    rates: Mapping[tuple[str, bool], Decimal]
    source: str

    def of(self, *, seconds: int, quality: str, audio: bool) -> Price | None:
        """The price of one job, or None where the table has no such quality."""
        rate = self.rates.get((quality, audio))
        return None if rate is None else Price(lowest=rate * seconds, highest=rate * seconds)

    def __str__(self) -> str:
        qualities = dict.fromkeys(quality for quality, _ in self.rates)
        each = [f"{name} ${self.rates[name, False]} (audio ${self.rates[name, True]})" for name in qualities]
        return f"a second: {', '.join(each)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PricePerJob:
    """A range that every job lies in, where no more is published."""

    lowest: Decimal
    highest: Decimal
    source: str

    def of(self, *, seconds: int, quality: str, audio: bool) -> Price | None:  # noqa: ARG002 - it depends on none
        """The range, whatever the job."""
        return Price(lowest=self.lowest, highest=self.highest)

    def __str__(self) -> str:
        return f"a job: ${self.lowest} to ${self.highest}"


Pricing = PricePerSecond | PricePerJob
