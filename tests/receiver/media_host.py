"""A media host as the good ones are, and its ways to go wrong: cuts, ranges it ignores, files that change."""

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tests.receiver.support import Answer, pause

MODIFIED = "Sat, 21 Nov 2026 10:00:00 GMT"
ANSWERED = "Sat, 21 Nov 2026 12:00:00 GMT"
PIECE = 32 * 1024


def serves(
    content: bytes,
    *,
    etag: str | None = '"v1"',
    modified: str | None = None,
    cut_after: int | None = None,
    ranges: bool = True,
    seconds_a_piece: float = 0.0,
    **more: str,
) -> Answer:
    """The file; ``cut_after`` so many bytes of an answer the connection is closed."""

    async def answer(request: Request) -> Response:
        named = {"etag": etag, "last-modified": modified} | {
            name.replace("_", "-"): text for name, text in more.items()
        }
        headers = {name: text for name, text in named.items() if text is not None}
        start, status = 0, 200
        asked = request.headers.get("range")
        if asked and ranges and request.headers.get("if-range") in (None, etag, modified):
            start, status = int(asked.removeprefix("bytes=").rstrip("-")), 206
            if start >= len(content):
                return Response(status_code=416, headers={"content-range": f"bytes */{len(content)}"})
            headers = {"content-range": f"bytes {start}-{len(content) - 1}/{len(content)}"} | headers
        rest = content[start:]

        async def body() -> AsyncIterator[bytes]:
            end = len(rest) if cut_after is None else min(cut_after, len(rest))
            for place in range(0, end, PIECE):
                yield rest[place : min(place + PIECE, end)]
                if seconds_a_piece:
                    await pause(request, seconds_a_piece)
            if end < len(rest):
                raise ConnectionResetError("cut off, as was asked for")

        return StreamingResponse(body(), status_code=status, headers={"content-length": str(len(rest))} | headers)

    return answer
