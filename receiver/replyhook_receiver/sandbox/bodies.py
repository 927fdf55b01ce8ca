"""Reads request bodies within bounds: raw bytes into a file, and the fields of a JSON or form body."""

import json
from collections.abc import AsyncIterator
from email.parser import BytesParser
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


async def read_fields(request: Request) -> dict[str, Any]:
    """The fields of a JSON object. Raises ``UnreadableBody``, or answers 413."""
    body = b"".join([chunk async for chunk in _bounded(request, FIELDS_LIMIT_BYTES)])
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableBody("the body is not valid JSON") from error
    if not isinstance(fields, dict):
        raise UnreadableBody("the body is not a JSON object")
    return fields


async def read_form(request: Request) -> dict[str, str]:
    """The text fields of a ``multipart/form-data`` body. Raises ``UnreadableBody``, or answers 413."""
    body = b"".join([chunk async for chunk in _bounded(request, FIELDS_LIMIT_BYTES)])
    # The standard library reads MIME; a multipart dependency for a few text fields is not worth it.
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode("latin-1")
    try:
        message = BytesParser(policy=HTTP).parsebytes(head + body)
    except RecursionError as error:
        raise UnreadableBody("the body is nested too deeply") from error
    if not message.is_multipart():
        raise UnreadableBody("the body is not multipart/form-data")
    fields: dict[str, str] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            fields[name] = content.decode(errors="replace")
    return fields


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
