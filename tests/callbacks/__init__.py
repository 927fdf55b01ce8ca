"""Callbacks as files, each with its origin: ``recorded("fal/success")`` reads one."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from replyhook.messages import Callback

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One callback as a provider sends it, or as its documents say that it does."""

    name: str
    origin: str
    source: str
    headers: dict[str, str]
    body: bytes

    @property
    def is_guess(self) -> bool:
        """Whether nobody has seen the provider send it."""
        return not self.origin.startswith("recorded ")

    @property
    def content(self) -> dict[str, Any]:
        """The body as a fresh dictionary, for a test to change."""
        content: dict[str, Any] = json.loads(self.body)
        return content

    def callback(self, received_at: datetime) -> Callback:
        """The callback as the receiver would hand it to the provider's ``parse_callback``."""
        headers = tuple((name.lower(), value) for name, value in self.headers.items())
        return Callback(provider=self.name.partition("/")[0], headers=headers, body=self.body, received_at=received_at)

    def __str__(self) -> str:
        return self.name


def recorded(name: str) -> Recorded:
    """The callback in ``tests/callbacks/<name>.json``."""
    content = json.loads((FOLDER / f"{name}.json").read_text())
    text = content["body_text"] if "body_text" in content else json.dumps(content["body"], separators=(",", ":"))
    return Recorded(
        name=name,
        origin=content["origin"],
        source=content["source"],
        headers=content["headers"],
        body=text.encode(),
    )


def every_recorded() -> list[Recorded]:
    """Every callback there is, by name."""
    return [recorded(f"{file.parent.name}/{file.stem}") for file in sorted(FOLDER.glob("*/*.json"))]
