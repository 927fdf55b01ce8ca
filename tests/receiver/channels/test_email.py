"""E-mail to a real mail server: plain on loopback, STARTTLS and TLS with a certificate of our own."""

import email
import email.policy
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtplib.email import flatten_message
from hypothesis import given, settings
from hypothesis import strategies as st

from replyhook.errors import ConfigurationError
from replyhook_receiver.channels.base import Poster
from replyhook_receiver.channels.email import EmailChannel, MailServer, mail_address
from replyhook_receiver.channels.message import read_message
from replyhook_receiver.errors import ChannelTrouble, DeliveryRefused, NetworkTrouble
from tests.contracts.channel_contract import NOW, ChannelContract, Place, delivery, notification
from tests.receiver.support import Host, a_receiver, until, useapi_body

RECIPIENT = "jane.doe@example.com"
SENDER = "Replyhook <replyhook@hooks.example.com>"
PASSWORD = "geheim-password"
JPEG = b"\xff\xd8\xff\xe0" + b"geheim" * 20


@contextmanager
def mail_server(folder: Path, *arguments: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A mail server in a process of its own: its port."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("mail_server.py")), str(folder), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline()), process
        finally:
            process.kill()


@dataclass
class MailPlace(Place):
    """A mailbox."""

    folder: Path
    process: subprocess.Popen[str]

    def mails(self) -> list[EmailMessage]:
        paths = sorted(self.folder.glob("*.eml"))
        return [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in paths]  # type: ignore[misc] # the policy makes them EmailMessages

    def arrived(self) -> list[str]:
        return [mail.as_string() for mail in self.mails()]

    def refuse(self, how: str) -> None:
        code = {"later": "451 4.3.0", "never": "550 5.1.1"}[how]
        (self.folder / "rcpt").write_text(f"{code} {RECIPIENT} is not taken")

    def leave(self) -> None:
        self.process.kill()
        self.process.wait()


@asynccontextmanager
async def a_mailbox(
    folder: Path, *arguments: str, poster: Poster | None = None, **server: Any
) -> AsyncIterator[MailPlace]:
    with mail_server(folder, *arguments) as (port, process):
        settings = {"host": "127.0.0.1", "port": port, "sender": SENDER, "security": "none"}
        channel = EmailChannel(server=MailServer(**(settings | server)), poster=poster)
        yield MailPlace(channel=channel, url=f"mailto:{RECIPIENT}", secret=RECIPIENT, folder=folder, process=process)


class TestEmail(ChannelContract):
    impossible = (
        "", "mailto:", "jane@example.com", "https://example.com", "mailto:jane", "mailto:a@b@c", "mailto:a@b,c@d",
        "mailto:a@example.com?cc=b@example.com", "mailto:a%0d%0a@example.com", "mailto:a@x.example\r\nBcc: x@y.example",
        "mailto:Jane <jane@example.com>", "mailto:jané@example.com", 'mailto:"a b"@example.com', "mailto:a@[127.0.0.1]",
        "mailto:a@exa mple.com", "mailto://a@example.com", "mailto:a..b@example.com",
    )  # fmt: skip

    def a_place(self, request: pytest.FixtureRequest) -> AbstractAsyncContextManager[Place]:
        return a_mailbox(request.getfixturevalue("tmp_path"))

    def check_harmless(self, arrived: str, words: str) -> None:
        mail = email.message_from_string(arrived, policy=email.policy.default)
        expected = ["X-From", "X-To", "X-Tls", "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"]
        assert mail.keys()[: len(expected)] == expected
        assert set(mail.keys()[len(expected) :]) <= {"MIME-Version", "Content-Type"}
        assert (mail["X-To"], mail["To"], mail["Bcc"]) == (RECIPIENT, RECIPIENT, None)
        assert "mallory" not in str(mail.keys())
        assert len(mail["Subject"]) <= (150 if words else 60)
        assert mail["Subject"].isprintable()
        page = mail.get_body(("html",)).get_content()  # type: ignore[union-attr] # there is one
        text = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
        assert "<script" not in page
        assert "onerror=alert" not in page.replace("&lt;", "<").split("<img")[0].split("<script")[0]
        assert all(letter.isprintable() or letter == "\n" for letter in text + page)
        assert len(arrived) < 100_000


async def test_a_mail_has_text_html_a_link_and_the_poster_frame_in_it(tmp_path: Path) -> None:
    asked: list[str] = []

    async def poster(job_id: str) -> bytes | None:
        asked.append(job_id)
        return JPEG

    link = "https://hooks.example.com/videos/tok?x=1&y=2"
    told = notification(kind="video.stored", video={"url": link, "duration": 7.0, "bytes": 319_369})
    async with a_mailbox(tmp_path, poster=poster) as place:
        answer = await place.channel.send(delivery(place.url, told), now=NOW)
        (mail,) = place.mails()
    assert (answer.status, answer.text) == (250, "taken")
    assert asked == [told.job_id]
    assert mail["Message-ID"] == f"<{told.id}@hooks.example.com>"
    assert (mail["Subject"], mail["From"]) == ("Video stored: order-42", SENDER)
    assert (mail["X-From"], mail["Date"].datetime) == ("replyhook@hooks.example.com", NOW.replace(microsecond=0))
    parts = {part.get_content_type(): part for part in mail.walk()}
    assert link in parts["text/plain"].get_content()
    page = parts["text/html"].get_content()
    assert f'<a href="{link.replace("&", "&amp;")}">' in page
    cid = parts["image/jpeg"]["Content-ID"].strip("<>")
    assert f'<img src="cid:{cid}"' in page
    assert parts["image/jpeg"].get_content() == JPEG


async def test_a_link_that_is_none_is_not_linked(tmp_path: Path) -> None:
    async with a_mailbox(tmp_path) as place:
        told = notification(kind="video.stored", video={"url": "javascript:alert(1)"})
        await place.channel.send(delivery(place.url, told), now=NOW)
        assert "javascript" not in place.arrived()[0]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def certificate(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_with_tls_the_log_in_and_the_mail_are_encrypted(
    tmp_path: Path, ca_file: Path, certificate: Path, security: str
) -> None:
    arguments = ("--security", security, "--certificate", str(certificate), "--login")
    secure = {"security": security, "ca_file": ca_file, "user": "jane"}
    async with a_mailbox(tmp_path, *arguments, **secure, password=PASSWORD) as place:
        await place.channel.send(delivery(place.url, notification()), now=NOW)
        assert place.mails()[0]["X-Tls"] == str(
            security == "starttls"
        )  # of TLS from the first byte aiosmtpd knows nothing
    async with a_mailbox(tmp_path, *arguments, **secure, password="geheim-wrong") as place:
        with pytest.raises(ChannelTrouble, match="smtp_password") as caught:
            await place.channel.send(delivery(place.url, notification()), now=NOW)
        assert "geheim" not in str(caught.value)
        assert caught.value.retryable
        assert len(place.mails()) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_certificate_that_is_not_trusted_gets_no_mail(tmp_path: Path, certificate: Path, security: str) -> None:
    arguments = ("--security", security, "--certificate", str(certificate))
    async with a_mailbox(tmp_path, *arguments, security=security) as place:
        with pytest.raises(NetworkTrouble):
            await place.channel.send(delivery(place.url, notification()), now=NOW)
        assert place.mails() == []


async def test_a_server_that_does_not_offer_starttls_gets_no_mail_in_the_clear(tmp_path: Path, ca_file: Path) -> None:
    async with a_mailbox(tmp_path, security="starttls", ca_file=ca_file) as place:
        with pytest.raises(ChannelTrouble, match="STARTTLS"):
            await place.channel.send(delivery(place.url, notification()), now=NOW)
        assert place.mails() == []


@pytest.mark.parametrize("answer", ["452 full", "554 spam", "hang up"])
async def test_a_mail_that_is_refused_as_a_whole_is_tried_again(tmp_path: Path, answer: str) -> None:
    (tmp_path / "data").write_text(answer)
    async with a_mailbox(tmp_path) as place:
        with pytest.raises((DeliveryRefused, NetworkTrouble)) as caught:
            await place.channel.send(delivery(place.url, notification()), now=NOW)
    assert caught.value.retryable


def test_a_server_elsewhere_is_only_spoken_to_with_tls() -> None:
    with pytest.raises(ConfigurationError, match="this machine"):
        MailServer(host="mail.example.com", port=25, sender=SENDER, security="none")
    assert PASSWORD not in repr(MailServer(host="mail.example.com", port=587, sender=SENDER, password=PASSWORD))


async def test_a_job_tells_its_own_mail_address(tmp_path: Path, host: Host) -> None:
    box = tmp_path / "box"
    box.mkdir()
    with mail_server(box) as (port, _):
        smtp = {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_security": "none", "smtp_from": SENDER}
        async with a_receiver(tmp_path, host, **smtp) as receiver:
            job, path = await receiver.register("useapi", notify=[{"url": f"mailto:{RECIPIENT}"}], reference="order-7")
            await receiver.client.post(path, content=useapi_body(job, "FAILED"))
            await until(lambda: receiver.rows("SELECT answer FROM deliveries WHERE status = 'delivered'") == [(250,)])
    (mail,) = box.glob("*.eml")
    assert b"Subject: Video failed: order-7" in mail.read_bytes()


PIECES = [
    "=?utf-8?q?", "?=", "=0D=0A", "\r\n", "Bcc:", " ", "=?utf-8?b?DQpCY2M6IHg=?=", "=?", "a" * 80, "é", "\u2028",
    "\x00",
]  # fmt: skip


@settings(max_examples=100)
@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(PIECES), max_size=20).map("".join)))
def test_whatever_the_words_are_a_mail_has_the_headers_we_gave_it_and_short_lines(words: str) -> None:
    channel = EmailChannel(server=MailServer(host="127.0.0.1", port=25, sender=SENDER, security="none"))
    mail = channel.build(read_message(notification(words)), mail_address(RECIPIENT), now=NOW)
    for sent in (flatten_message(mail, cte_type="8bit"), flatten_message(mail, cte_type="7bit")):
        names = email.message_from_bytes(sent, policy=email.policy.compat32).keys()
        assert sorted(names) == sorted(
            ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
        )
        assert max(map(len, sent.split(b"\r\n"))) <= 998
