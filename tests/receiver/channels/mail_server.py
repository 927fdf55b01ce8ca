"""A mail server as a process of its own: keeps each mail as a file, and answers as the folder's files say."""

import argparse
import asyncio
import ssl
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


class Handler:
    """Takes mails into a folder. The files ``rcpt`` and ``data`` there hold the answers to give instead."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del server, session, options
        answer = self._said("rcpt")
        if answer is None:
            envelope.rcpt_tos.append(address)
        return answer or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        del server
        answer = self._said("data")
        if answer == "hang up":
            raise ConnectionAbortedError
        if answer is None:
            number = len(list(self._folder.glob("*.eml")))
            seen = {"X-From": envelope.mail_from, "X-To": ",".join(envelope.rcpt_tos), "X-Tls": bool(session.ssl)}
            lines = "".join(f"{name}: {value}\r\n" for name, value in seen.items())
            content = envelope.content if isinstance(envelope.content, bytes) else b""
            (self._folder / f"{number:03}.eml").write_bytes(lines.encode() + content)
        return answer or "250 taken"

    def _said(self, name: str) -> str | None:
        path = self._folder / name
        return path.read_text() if path.exists() else None


def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any) -> AuthResult:
    """One user with one password."""
    del server, session, envelope, mechanism
    return AuthResult(success=given == LoginPassword(b"jane", b"geheim-password"), handled=False)


async def serve(folder: Path, security: str, certificate: str | None, has_login: bool) -> None:
    """Until the process ends."""
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)

    def factory() -> SMTP:
        starttls: dict[str, Any] = {"tls_context": context, "require_starttls": True} if security == "starttls" else {}
        login: dict[str, Any] = {"authenticator": authenticate, "auth_required": True} if has_login else {}
        plain: dict[str, Any] = {} if security == "starttls" else {"auth_require_tls": False}
        options: dict[str, Any] = starttls | login | plain
        return SMTP(Handler(folder), hostname="localhost", loop=asyncio.get_running_loop(), **options)

    server = await asyncio.get_running_loop().create_server(
        factory, "127.0.0.1", 0, ssl=context if security == "tls" else None
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--security", default="none")
    parser.add_argument("--certificate")
    parser.add_argument("--login", action="store_true")
    asked = parser.parse_args()
    asyncio.run(serve(asked.folder, asked.security, asked.certificate, asked.login))
