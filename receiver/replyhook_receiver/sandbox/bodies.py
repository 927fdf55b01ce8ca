"""Reads request bodies within bounds: raw bytes into a file, and the fields of a JSON or form body."""

import json
from collections.abc import AsyncIterator
from email.message import Message
from email.parser import Parser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request

FIELDS_LIMIT_BYTES = 1024 * 1024
UPLOAD_LIMIT_BYTES = 64 * 1024 * 1024


class UnreadableBody(ValueError):
    """The body is not what its content type says, or its content type is unknown."""


async def read_fields(request: Request, limit_bytes: int = FIELDS_LIMIT_BYTES) -> dict[str, Any]:
    """The fields of a JSON object. Raises ``UnreadableBody``, or answers 413."""
    body = b"".join([chunk async for chunk in _bounded(request, limit_bytes)])
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableBody("the body is not valid JSON") from error
    if not isinstance(fields, dict):
        raise UnreadableBody("the body is not a JSON object")
    return fields


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a ``multipart/form-data`` body as texts. Raises ``UnreadableBody``, or answers 413."""
    return {name: content.decode(errors="replace") for name, content in (await read_parts(request)).items()}


async def read_parts(request: Request, limit_bytes: int = FIELDS_LIMIT_BYTES) -> dict[str, bytes]:
    """The parts of a ``multipart/form-data`` body, by name. Raises ``UnreadableBody``, or answers 413."""
    body = b"".join([chunk async for chunk in _bounded(request, limit_bytes)])
    # Split here: a multipart dependency for a few small forms is not worth it, and MIME parsers touch line ends.
    boundary = _header("content-type", request.headers.get("content-type", "")).get_boundary()
    if not boundary:
        raise UnreadableBody("the body is not multipart/form-data")
    parts: dict[str, bytes] = {}
    for chunk in (b"\r\n" + body).split(b"\r\n--" + boundary.encode())[1:]:
        if chunk.startswith(b"--"):
            return parts
        head, separator, content = chunk.partition(b"\r\n\r\n")
        name = _header("x-none", head.decode(errors="replace")).get_param("name", header="content-disposition")
        if not separator or not isinstance(name, str):
            raise UnreadableBody("a part of the body has no name")
        parts[name] = content
    raise UnreadableBody("the body ends before its last boundary")


def _header(name: str, text: str) -> Message:
    """``name: text``, and the headers that stand on further lines of ``text``."""
    return Parser(policy=HTTP).parsestr(f"{name}: {text}\r\n\r\n", headersonly=True)


async def save_body(request: Request, target: Path) -> int:
    """Store the raw body at ``target`` and return its size; on 413, or a broken upload, nothing remains."""
    part = target.with_name(target.name + ".part")
    received = 0
    try:
        async with await anyio.open_file(part, "wb") as file:
            async for chunk in _bounded(request, UPLOAD_LIMIT_BYTES):
                received += len(chunk)
                await file.write(chunk)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return received


async def _bounded(request: Request, limit_bytes: int) -> AsyncIterator[bytes]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit_bytes:
            # Where each provider draws its line is not published; ours.
            raise HTTPException(413, f"The body is larger than {limit_bytes} bytes.")
        yield chunk
