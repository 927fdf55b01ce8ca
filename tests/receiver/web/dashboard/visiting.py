"""A browser without a screen: cookies, forms, links; the receiver it visits is a real one."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from tests.receiver.support import API_KEY, PUBLIC_URL, Receiver

FROM_A_PAGE = {"sec-fetch-site": "same-origin"}


@dataclass
class Visitor:
    """Somebody at a browser."""

    client: httpx.AsyncClient

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers)

    async def post(self, path: str, fields: dict[str, str], **headers: str) -> httpx.Response:
        """Send a form, as a page of ours would."""
        return await self.client.post(path, data=fields, headers={**FROM_A_PAGE, **headers})

    async def sign_in(self, key: str = API_KEY, *, onward: str = "") -> httpx.Response:
        csrf = csrf_in(await self.get("/sign-in"))
        return await self.post("/sign-in", {"csrf": csrf, "key": key, "next": onward})

    async def csrf(self) -> str:
        """The token of the pages after signing in."""
        return csrf_in(await self.get("/"))


def csrf_in(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="(\w+)"', page.text)
    assert found, page.text
    return found[1]


@asynccontextmanager
async def a_visitor(receiver: Receiver, *, key: str | None = API_KEY) -> AsyncIterator[Visitor]:
    """A visitor of a receiver, signed in with ``key`` where there is one."""
    transport = httpx.ASGITransport(receiver.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL, timeout=10) as client:
        visitor = Visitor(client)
        if key is not None:
            assert (await visitor.sign_in(key)).status_code == 303
        yield visitor
