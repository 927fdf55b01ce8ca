"""What the receiver itself has to reach: the providers' public keys and the mail server, by the doors it uses."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aiosmtplib

from replyhook.errors import ConfigurationError, UnreadableMessage
from replyhook.urls import shown_url
from replyhook_receiver.channels.email import MailServer
from replyhook_receiver.doctor.answering import clock_finding
from replyhook_receiver.doctor.examined import Examined
from replyhook_receiver.doctor.findings import Finding, fail, ok, warn
from replyhook_receiver.doctor.public_keys import fetch_keys
from replyhook_receiver.errors import NetworkRefused, ReceiverTrouble

_MAIL_SECONDS = 10.0


def check_reached(examined: Examined) -> Iterator[Finding]:
    """The keys first, since a callback may wait for them."""
    for name, provider in examined.settings.make_providers().items():
        if provider.jwks_url:
            yield from public_keys(examined, name, provider.jwks_url, trouble=fail if examined.uses(name) else warn)
    if examined.settings.smtp_host:
        yield _mail(examined)


def public_keys(
    examined: Examined, name: str, url: str, *, trouble: Callable[[str, str, str], Finding]
) -> Iterator[Finding]:
    """A provider's, fetched now, and what its clock says; ``trouble`` is how bad it is that they cannot be."""
    check, shown = f"{name} public keys", shown_url(url)
    todo = "let the receiver reach it: without them new callbacks are answered 503, and come again"

    try:
        fetched = fetch_keys(url, examined.settings.allowed_networks)
    except NetworkRefused as error:
        yield fail(check, f"{shown}: {error}", "set jwks_url aright, or its network in allowed_networks")
    except (ReceiverTrouble, UnreadableMessage) as error:
        yield trouble(check, f"{shown}: {error}", todo)
    else:
        yield ok(check, f"{len(fetched.keys)} from {shown}")
        host = urlsplit(url).hostname or ""
        clock = f"clock ({name})"
        yield clock_finding(clock, host, fetched.date) or warn(
            clock, f"{host} tells no time", "see that this machine keeps its clock (NTP)"
        )


def _mail(examined: Examined) -> Finding:
    settings = examined.settings
    where, todo = (
        f"{settings.smtp_host}:{settings.smtp_port}",
        "check smtp_host, smtp_port, smtp_security and the log-in",
    )
    try:
        asyncio.run(_greet(examined))
    except ConfigurationError as error:
        return fail("mail server", str(error), todo)
    except aiosmtplib.SMTPAuthenticationError as error:
        return fail("mail server", f"{where} did not accept smtp_user and smtp_password ({error.code})", todo)
    except (aiosmtplib.SMTPException, OSError, ValueError, TimeoutError) as error:
        return fail("mail server", f"{where} could not be talked to ({type(error).__name__})", todo)
    done = "took the log-in" if settings.smtp_user else "answers"
    return ok("mail server", f"{where} {done} ({settings.smtp_security}); no mail was sent")


async def _greet(examined: Examined) -> None:
    """Connect, secure, log in, leave. Raises what aiosmtplib does, ``ConfigurationError``."""
    settings = examined.settings
    server = MailServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        sender=settings.smtp_from,
        security=settings.smtp_security,
        ca_file=Path(settings.smtp_ca_file) if settings.smtp_ca_file else None,
    )
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        username=settings.smtp_user or None,
        password=settings.smtp_password.get_secret_value() or None,
        use_tls=server.security == "tls",
        start_tls=server.security == "starttls",
        tls_context=server.tls_context(),
        timeout=_MAIL_SECONDS,
    )
    try:
        async with asyncio.timeout(_MAIL_SECONDS):
            await client.connect()
            await client.quit()
    finally:
        client.close()
