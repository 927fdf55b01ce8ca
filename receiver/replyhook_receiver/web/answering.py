"""Answers as JSON: each is put into the model that `/openapi.json` tells of it, so neither can drift from the other."""

from typing import Any

import msgspec
from starlette.responses import Response

NO_STORE = {"cache-control": "no-store"}


def answer(
    kind: type[msgspec.Struct], content: Any, *, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """``content`` as ``kind``: a member too many or too few is a fault of ours, and no caller's surprise."""
    told = content if isinstance(content, kind) else msgspec.convert(content, type=kind)
    return Response(
        msgspec.json.encode(told),
        status_code=status,
        headers=NO_STORE | (headers or {}),
        media_type="application/json",
    )


def counts(kind: Any, content: Any) -> Response:
    """The same for what is a mapping and no object of ours."""
    return Response(
        msgspec.json.encode(msgspec.convert(content, type=kind)), headers=NO_STORE, media_type="application/json"
    )
