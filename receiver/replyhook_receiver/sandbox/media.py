"""The sandbox's files: results and uploads by provider, scratch space, and the downloads at ``/media``."""

import re
import uuid
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook_receiver.sandbox.faults import SPOILT_LINKS, Fault
from replyhook_receiver.sandbox.responses import video_answer

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,120}")


class Media:
    """Where files are, on disk and for the world."""

    def __init__(self, work_dir: Path, base_url: str, *, slow_bytes_per_second: float) -> None:
        self._work_dir = work_dir
        self._base_url = base_url.rstrip("/")
        self._slow_bytes_per_second = slow_bytes_per_second

    def prepare(self, providers: tuple[str, ...]) -> None:
        """Make the folders."""
        for name in ("scratch", *(f"media/{provider}" for provider in providers)):
            (self._work_dir / name).mkdir(parents=True, exist_ok=True)

    def path(self, provider: str, name: str) -> Path:
        """Where the file ``name`` of ``provider`` is."""
        return self._work_dir / "media" / provider / name

    def url(self, provider: str, name: str) -> str:
        """Where the world downloads it."""
        return f"{self._base_url}/media/{provider}/{name}"

    def link(self, provider: str, name: str, fault: Fault, *, is_fresh: bool) -> str:
        """The address of a result, as ``fault`` has it told. A fresh one was asked for by a status call."""
        url = self.url(provider, name)
        if fault is Fault.FOREIGN_HOST:
            return _elsewhere(url)
        return f"{url}?fault={fault}" if fault in SPOILT_LINKS and not is_fresh else url

    def scratch(self) -> Path:
        """A path that nobody uses yet."""
        return self._work_dir / "scratch" / uuid.uuid4().hex

    def routes(self) -> list[Route]:
        return [Route("/media/{provider}/{name}", self._download)]

    async def _download(self, request: Request) -> Response:
        provider, name = request.path_params["provider"], request.path_params["name"]
        if not (_NAME.fullmatch(provider) and _NAME.fullmatch(name)) or name.endswith(".part"):
            raise HTTPException(404)
        path = self.path(provider, name)
        if not path.is_file():
            raise HTTPException(404)
        asked = request.query_params.get("fault")
        fault = Fault(asked) if asked in SPOILT_LINKS else Fault.NONE
        return await video_answer(path, fault, slow_bytes_per_second=self._slow_bytes_per_second)


def _elsewhere(url: str) -> str:
    """``url`` with this machine's other name."""
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname == "localhost" else "localhost"
    return urlunsplit(parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host))
