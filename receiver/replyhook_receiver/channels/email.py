"""Notifications as e-mail through the operator's mail server: text and HTML, the poster frame in it."""

import asyncio
import contextlib
import re
import ssl
from dataclasses import dataclass, field
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from pathlib import Path
from typing import Literal

import aiosmtplib

from replyhook.errors import ConfigurationError, InvalidRequest
from replyhook_receiver.answer_texts import kept_text
from replyhook_receiver.answers import Answer
from replyhook_receiver.channels.base import Poster
from replyhook_receiver.channels.message import Message, read_message
from replyhook_receiver.config import is_loopback
from replyhook_receiver.errors import ChannelTrouble, DeliveryRefused, NetworkRefused, NetworkTrouble, NeverTaken
from replyhook_receiver.records import DeliveryRecord

TIMEOUT_SECONDS = 25.0
MAX_POSTER_BYTES = 1024 * 1024
_MAILTO = "mailto:"
_HEADERS = frozenset(
    b"From To Subject Date Message-ID Auto-Submitted MIME-Version Content-Type Content-Transfer-Encoding".split()
)
_ADDRESS = re.compile(r"([A-Za-z0-9!#$&'*+=?^_`{|}~.-]{1,64})@((?:[A-Za-z0-9-]{1,63}\.)*[A-Za-z0-9-]{1,63})")


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """The operator's mail server. ``ca_file`` holds the authorities that its certificate is checked by, if not the
    system's. Raises ``ConfigurationError``."""

    host: str
    port: int
    sender: str
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        mail_address(parseaddr(self.sender)[1], field="smtp_from")
        if self.security == "none" and not is_loopback(self.host):
            raise ConfigurationError(f"smtp_security: none is only for a mail server on this machine, not {self.host}")
        self.tls_context()

    def tls_context(self) -> ssl.SSLContext | None:
        """What its certificate is checked with."""
        if self.security == "none":
            return None
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"smtp_ca_file: {type(error).__name__}: no certificates can be read there"
            ) from error


class EmailChannel:
    """Sends to ``mailto:`` URLs. ``Message-ID`` is made of the notification's id, so that repeats can be told."""

    operator_only = False

    def __init__(self, *, server: MailServer, poster: Poster | None = None) -> None:
        self._server = server
        self._tls_context = server.tls_context()
        self._poster = poster
        name, address = parseaddr(server.sender)
        sender = mail_address(address, field="smtp_from")
        self._sender = Address(display_name=name, username=sender.username, domain=sender.domain)

    async def check(self, url: str) -> None:
        """Whether it is one address and nothing else."""
        _recipient(url)

    async def send(self, delivery: DeliveryRecord, *, now: datetime) -> Answer:
        """Hand it to the mail server."""
        try:
            recipient = _recipient(delivery.target.url)
        except InvalidRequest:
            raise NetworkRefused("the endpoint's URL is not mailto: and one mail address") from None
        message = read_message(delivery.notification)
        try:
            mail = self.build(message, recipient, now=now, poster=await self._find_poster(message))
        except (MessageError, ValueError) as error:
            raise NetworkRefused(f"no mail can be made of it ({type(error).__name__})") from None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                said = await self._hand_over(mail, recipient.addr_spec)
        except TimeoutError:
            raise NetworkTrouble(f"the mail server did not take it within {TIMEOUT_SECONDS:g} s") from None
        return Answer(status=250, text=_kept(said, recipient.addr_spec))

    def build(
        self, message: Message, recipient: Address, *, now: datetime, poster: bytes | None = None
    ) -> EmailMessage:
        """The mail: text, and HTML with the poster frame in it."""
        mail = EmailMessage(policy=SMTP)
        message_id = f"<{message.id}@{self._sender.domain}>"
        mail["From"] = self._sender
        mail["To"] = recipient
        mail["Subject"] = message.subject.replace("=?", "= ?")  # Python decodes what looks encoded, line ends and all
        mail["Date"] = now
        mail["Message-ID"] = message_id
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text, cte="quoted-printable")
        frame = f"poster.{message.id}@{self._sender.domain}" if poster else None
        mail.add_alternative(message.html(f"cid:{frame}" if frame else None), subtype="html", cte="quoted-printable")
        if poster and frame:
            parts = mail.get_payload()
            page = parts[1] if isinstance(parts, list) else None
            if isinstance(page, EmailMessage):
                page.add_related(poster, maintype="image", subtype="jpeg", cid=f"<{frame}>", filename="poster.jpg")
        _check_headers(mail)
        return mail

    async def _find_poster(self, message: Message) -> bytes | None:
        poster = await self._poster(message.job_id) if self._poster and message.job_id else None
        return poster if poster and len(poster) <= MAX_POSTER_BYTES else None

    async def _hand_over(self, mail: EmailMessage, recipient: str) -> str:
        server = self._server
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            use_tls=server.security == "tls",
            # Never "if it is offered": who is in between could say that it is not.
            start_tls=server.security == "starttls",
            tls_context=self._tls_context,
            timeout=TIMEOUT_SECONDS,
        )
        try:
            await client.connect()
            _, said = await client.send_message(mail, sender=self._sender.addr_spec, recipients=[recipient])
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                await client.quit()  # it has taken the mail: whatever comes now changes nothing
            return said
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise _trouble(error, recipient) from None  # its words hold addresses
        finally:
            client.close()


def mail_address(text: str, *, field: str = "url") -> Address:
    """One mail address in ASCII. Raises ``InvalidRequest``."""
    found = _ADDRESS.fullmatch(text)
    if found is None or ".." in text or text.startswith(".") or ".@" in text:
        raise InvalidRequest(field, text, "one plain mail address, such as jane@example.com")
    return Address(username=found[1], domain=found[2])


def _recipient(url: str) -> Address:
    if not url.lower().startswith(_MAILTO):
        raise InvalidRequest("url", url, "mailto: and one mail address")
    return mail_address(url[len(_MAILTO) :])


def _check_headers(mail: EmailMessage) -> None:
    """Raise ``ValueError`` where the mail, as it will be sent, has a header that we did not give it."""
    lines = mail.as_bytes().partition(b"\r\n\r\n")[0].split(b"\r\n")
    names = [line.partition(b":")[0] for line in lines if line[:1] not in (b" ", b"\t")]
    if len(names) != len(set(names)) or not _HEADERS.issuperset(names):
        raise ValueError("a header that we did not give it")


def _kept(said: str, recipient: str) -> str:
    return kept_text(said.encode("utf-8", "replace"), secrets=[recipient])


def _trouble(error: Exception, recipient: str) -> Exception:
    refusals = error.recipients if isinstance(error, aiosmtplib.SMTPRecipientsRefused) else []
    answer = refusals[0] if refusals else error
    if isinstance(answer, aiosmtplib.SMTPAuthenticationError):
        return ChannelTrouble(f"the mail server did not accept smtp_user and smtp_password ({answer.code})")
    if isinstance(answer, aiosmtplib.SMTPResponseException):
        kind = NeverTaken if 500 <= answer.code < 600 and refusals else DeliveryRefused
        text = _kept(answer.message, recipient)
        return kind(f"the mail server answered {answer.code}", status=answer.code, text=text)
    if type(answer) is aiosmtplib.SMTPException or isinstance(answer, aiosmtplib.SMTPNotSupported):
        return ChannelTrouble("the mail server does not offer what is set (STARTTLS or a log-in)")
    return NetworkTrouble(f"the mail server could not be talked to ({type(answer).__name__})")
