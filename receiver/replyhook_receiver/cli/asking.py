"""One question to the receiver that the environment names, where the library has no call for it."""

import os
from typing import Any

from replyhook.environment import with_files
from replyhook.errors import ReceiverUnavailable
from replyhook.messages import HTTPRequest, HTTPResponse
from replyhook.receiver_api import ReceiverAPI
from replyhook.transport import ConnectionTrouble, Transport

_SECONDS = 30.0


def receiver_from_environ() -> ReceiverAPI:
    """The receiver that the environment names. Raises ``ConfigurationError``."""
    environ = with_files(os.environ)
    return ReceiverAPI(url=environ.get("REPLYHOOK_RECEIVER_URL", ""), api_key=environ.get("REPLYHOOK_API_KEY", ""))


def ask(method: str, path: str, *, json: dict[str, Any] | None = None) -> HTTPResponse:
    """The receiver's answer. Raises ``ConfigurationError`` and what ``send`` does."""
    receiver = receiver_from_environ()
    headers = {"authorization": f"Bearer {receiver.api_key}"}
    return send(receiver, HTTPRequest(method=method, url=receiver.url.rstrip("/") + path, headers=headers, json=json))


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
