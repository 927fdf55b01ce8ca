"""One question to the receiver that the environment names, where the library has no call for it."""

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from replyhook.environment import with_files
from replyhook.errors import ReceiverUnavailable
from replyhook.messages import HTTPRequest, HTTPResponse, as_object
from replyhook.receiver_api import ReceiverAPI
from replyhook.transport import Transport
from replyhook.trouble import ConnectionTrouble

_SECONDS = 30.0


def receiver_from_environ() -> ReceiverAPI:
    """The receiver that the environment names. Raises ``ConfigurationError``."""
    environ = with_files(os.environ)
    return ReceiverAPI(url=environ.get("REPLYHOOK_RECEIVER_URL", ""), api_key=environ.get("REPLYHOOK_API_KEY", ""))


def send(receiver: ReceiverAPI, request: HTTPRequest) -> HTTPResponse:
    """The receiver's answer. Raises the typed error of one other than success, ``ReceiverUnavailable`` for none."""
    transport = Transport(timeout_seconds=_SECONDS)
    try:
        answer = transport.send(request)
    except ConnectionTrouble as error:
        raise ReceiverUnavailable(f"the receiver could not be reached: {error}") from error
    finally:
        transport.close()
    receiver.raise_for_problem(answer)
    return answer


def ask(
    method: str,
    path: str,
    *,
    query: Mapping[str, str | int | None] | None = None,
    content: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the receiver that the environment names answers. Raises its typed errors, ``ConfigurationError``."""
    receiver = receiver_from_environ()
    given = {name: value for name, value in (query or {}).items() if value is not None}
    request = HTTPRequest(
        method=method,
        url=f"{receiver.url.rstrip('/')}{path}{'?' if given else ''}{urlencode(given)}",
        headers={"authorization": f"Bearer {receiver.api_key}"},
        json=content,
    )
    answer = send(receiver, request)
    return as_object(answer.json()) if answer.body else {}
