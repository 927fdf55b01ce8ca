"""A body that is too large is refused by Starlette, before it is read, in plain text: here it becomes a problem."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from replyhook_receiver.web.problems import TOO_LARGE, problem

_PLAIN = b"text/plain"


class TooLargeAsProblem:
    """Answers 413 as everything else is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_replaced = False

        async def formed(message: Message) -> None:
            nonlocal is_replaced
            if is_replaced:
                return
            if message["type"] == "http.response.start" and message["status"] == 413 and _is_plain(message):
                is_replaced = True
                await problem(413, TOO_LARGE)(scope, receive, send)
            else:
                await send(message)

        await self._app(scope, receive, formed)


def _is_plain(message: Message) -> bool:
    headers = dict(message.get("headers", ()))
    return bytes(headers.get(b"content-type", b"")).startswith(_PLAIN)
