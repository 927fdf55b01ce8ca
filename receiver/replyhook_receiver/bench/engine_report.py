"""What `replyhook bench engine` found."""

import msgspec


class Drain(msgspec.Struct, kw_only=True, frozen=True):
    """How fast tasks that do nothing are gone, the median of the rounds."""

    engine: str
    processes: int
    scheduled: int
    tasks_per_s: float
    worker_us: float
    postgres_us: float | None


class Behaviour(msgspec.Struct, kw_only=True, frozen=True):
    """What an engine does when something goes wrong. None: not measured."""

    engine: str
    taken_over_seconds: float | None
    killed_try_is_counted: bool | None
    accepted_before_kills: int
    mismatches: int
    most_at_a_time: int
    cap: int
    survives_away: bool | None
    went_on_after_seconds: float | None


class EngineResult(msgspec.Struct, kw_only=True, frozen=True):
    """The whole run."""

    drains: list[Drain]
    behaviours: list[Behaviour]
    rounds: int
    tasks: int

    def as_json(self) -> bytes:
        """One JSON object."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)
