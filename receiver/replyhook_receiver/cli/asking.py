"""One question to the receiver that the environment names, or to the file of ``--database``."""

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
from replyhook_receiver.cli.on_file import answer_from, named_file

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
    answer = ask_plain(method, path, query=query, content=content)
    return as_object(answer.json()) if answer.body else {}


def ask_plain(
    method: str,
    path: str,
    *,
    query: Mapping[str, str | int | None] | None = None,
    content: Mapping[str, Any] | None = None,
) -> HTTPResponse:
    """The same, its answer as it came."""
    given = {name: value for name, value in (query or {}).items() if value is not None}
    asked = f"{path}{'?' if given else ''}{urlencode(given)}"
    file = named_file()
    if file is not None:
        return answer_from(file, HTTPRequest(method=method, url=asked, json=content))
    receiver = receiver_from_environ()
    headers = {"authorization": f"Bearer {receiver.api_key}"}
    return send(
        receiver, HTTPRequest(method=method, url=receiver.url.rstrip("/") + asked, headers=headers, json=content)
    )
