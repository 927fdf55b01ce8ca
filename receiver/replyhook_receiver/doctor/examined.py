"""What is examined: a receiver's settings, what its data folder tells of it, and where it should answer."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from replyhook_receiver.config import Settings, is_loopback
from replyhook_receiver.doctor.kept_in_postgres import rows_in_postgres
from replyhook_receiver.own_secrets import kept_secrets
from replyhook_receiver.stores.sql.connection import Row
from replyhook_receiver.stores.sqlite.serving_lock import Holder, holder_of

_BUSY_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Examined:
    """One receiver. ``config`` is its settings file; ``holder`` the process that serves its database, if one does."""

    settings: Settings = field(repr=False)
    config: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @cached_property
    def secrets(self) -> dict[str, tuple[str, ...]]:
        """The keys in force, by their settings' names. Raises ``ConfigurationError``."""
        return kept_secrets(self.settings)

    @cached_property
    def holder(self) -> Holder | None:
        """Who serves the database; one that tells nothing where the file may not be read. PostgreSQL has nobody: there
        any number do."""
        if self.settings.postgres_url is not None:
            return None
        try:
            return holder_of(self.settings.database_path)
        except OSError:
            return Holder()

    @cached_property
    def local_url(self) -> str:
        """Where the receiver answers on this machine."""
        if self.holder is not None and self.holder.url:
            return _on_this_machine(self.holder.url)
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return _on_this_machine(f"http://{host}:{self.settings.port}")

    @cached_property
    def public_url(self) -> str:
        """Where providers reach it; empty where nothing is set and it does not listen on loopback."""
        if self.settings.public_url:
            return self.settings.public_url
        return self.local_url if is_loopback(self.settings.host) else ""

    @property
    def is_public(self) -> bool:
        """Whether providers reach it from elsewhere, by the settings."""
        host = urlsplit(self.settings.public_url).hostname
        return host is not None and not is_loopback(host)

    @cached_property
    def _used(self) -> frozenset[str]:
        return frozenset(row["provider"] for row in self.rows("SELECT DISTINCT provider FROM jobs"))

    def uses(self, provider: str) -> bool:
        """Whether the provider is set up here, or has had a job."""
        return provider in self._used or bool(self.settings.providers.get(provider))

    def senders(self, provider: str, account: str) -> tuple[str, ...]:
        """Whom the receiver has learned to believe."""
        statement = "SELECT sender FROM senders WHERE provider = ? AND account = ?"
        return tuple(row["sender"] for row in self.rows(statement, provider, account))

    def rows(self, statement: str, *values: str) -> list[Row]:
        """What a question to the database finds; nothing where it cannot be asked."""
        if self.settings.postgres_url is not None:
            return rows_in_postgres(self.settings.postgres_url, statement, *values)
        path = self.settings.database_path
        if not path.is_file():
            return []
        try:
            with closing(
                sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
            ) as raw:
                raw.row_factory = sqlite3.Row
                return raw.execute(statement, values).fetchall()
        except sqlite3.Error:
            return []


def _on_this_machine(url: str) -> str:
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
