"""What a bench found, and how its figures are made."""

from statistics import median
from typing import Any

import msgspec

from replyhook_receiver.bench.cases import Case


class CaseResult(msgspec.Struct, kw_only=True, frozen=True):
    """One case. ``ratio`` is its requests per second over the bare route's, the median of the rounds' own ratios.

    ``fsyncs_per_callback`` counts those of commits, not of checkpoints.
    """

    name: str
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    ratio: float
    p99_ratio: float
    cpu_us_per_request: float
    acknowledged: int
    stored: int | None = None
    callbacks_per_commit: float | None = None
    fsyncs_per_callback: float | None = None


class Comparison(msgspec.Struct, kw_only=True, frozen=True):
    """One figure that was aimed at. ``met`` is None where one of the two cases did not run."""

    what: str
    figure: float | None
    wanted: str
    met: bool | None


class IngestResult(msgspec.Struct, kw_only=True, frozen=True):
    """The whole run."""

    cases: list[CaseResult]
    comparisons: list[Comparison]
    steps_us: dict[str, float]
    fsync_us: float
    rounds: int
    requests: int
    connections: int
    pinned: bool

    def as_json(self) -> bytes:
        """One JSON object."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)


def summarise(cases: list[Case]) -> list[CaseResult]:
    """Each case's figures; the first case is what the others are compared with."""
    base = cases[0]
    return [_summary(case, base) for case in cases]


def _summary(case: Case, base: Case) -> CaseResult:
    counts: dict[str, Any] = {
        name: case.after[name] - case.before.get(name, 0)
        for name in ("stored", "commits", "writes", "fsyncs")
        if name in case.after
    }
    acknowledged = sum(run.acknowledged for run in case.rounds)
    commits, stored = counts.get("commits"), counts.get("stored")
    return CaseResult(
        name=case.name,
        requests_per_s=round(median(run.requests_per_s for run in case.rounds), 1),
        p50_ms=round(median(run.percentile_ms(50) for run in case.rounds), 3),
        p99_ms=round(median(run.percentile_ms(99) for run in case.rounds), 3),
        ratio=_ratio([run.requests_per_s for run in case.rounds], [run.requests_per_s for run in base.rounds]),
        p99_ratio=_ratio(
            [run.percentile_ms(99) for run in case.rounds], [run.percentile_ms(99) for run in base.rounds]
        ),
        cpu_us_per_request=round(sum(case.cpu_seconds) / acknowledged * 1e6, 1),
        acknowledged=acknowledged,
        stored=stored,
        callbacks_per_commit=round(acknowledged / commits, 1) if commits else None,
        fsyncs_per_callback=round(counts["fsyncs"] / acknowledged, 4) if "fsyncs" in counts else None,
    )


def _ratio(figures: list[float], base: list[float]) -> float:
    return round(median(one / other for one, other in zip(figures, base, strict=True)), 3)


def compare(results: list[CaseResult]) -> list[Comparison]:
    """The figures that were aimed at."""
    found = {result.name: result for result in results}
    token, fal = found["token"], found["fal"]
    by_hand, full = found.get("handwritten"), found.get("token_full")
    return [
        _at_least("token / bare", token.ratio, 0.50),
        _at_least("fal / bare", fal.ratio, 0.28),
        _at_least("token / handwritten", token.ratio / by_hand.ratio if by_hand else None, 12),
        _at_most("p99 of token / p99 of bare", token.p99_ratio, 3),
        _at_least("token with a full database / token", full.ratio / token.ratio if full else None, 0.9),
    ]


def _at_least(what: str, figure: float | None, wanted: float) -> Comparison:
    met = None if figure is None else figure >= wanted
    return Comparison(what=what, figure=_rounded(figure), wanted=f"≥ {wanted:g}", met=met)


def _at_most(what: str, figure: float | None, wanted: float) -> Comparison:
    met = None if figure is None else figure <= wanted
    return Comparison(what=what, figure=_rounded(figure), wanted=f"≤ {wanted:g}", met=met)


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 3)
