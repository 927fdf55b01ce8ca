"""The settings: what a receiver can be told, and what of it cannot be right.

pydantic-settings checks them: it names every problem at once, where msgspec would name the first.
"""

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from replyhook.errors import ConfigurationError
from replyhook.providers import PROVIDERS, Provider, make_provider
from replyhook.signatures import standard_webhooks_key
from replyhook.tokens import MIN_KEY_LENGTH, ReplyKeys
from replyhook_receiver.endpoint_settings import EndpointSettings
from replyhook_receiver.places import Bucket, checked_endpoint, read_place

PREFIX = "REPLYHOOK_"
_POSTGRES = ("postgresql://", "postgres://")

TextList = Annotated[tuple[str, ...], NoDecode]
SecretList = Annotated[tuple[SecretStr, ...], NoDecode]


class Settings(BaseSettings):
    """Everything a receiver can be told. Each name is also an environment variable: REPLYHOOK_ and the name."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True
    )

    public_url: str = Field(default="", description="where providers reach this receiver; https:// outside loopback")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8080, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    data_dir: Path = Field(default=Path("replyhook-data"), description="folder for the database, videos and own keys")
    database_url: SecretStr = Field(
        default=SecretStr(""),
        description="sqlite:///path, or postgresql://… for many receivers; by default replyhook.db in data_dir",
    )
    storage_url: str = Field(
        default="",
        description="file:///path, s3://bucket/prefix, gs://… or az://…; by default videos/ in data_dir",
    )
    storage_endpoint: str = Field(default="", description="address of an object store that is not the cloud's own")
    storage_redirects: bool = Field(
        default=True, description="whether an object store serves its videos itself, by short-lived links"
    )
    video_link_seconds: int = Field(
        default=7 * 24 * 3600, ge=60, le=366 * 24 * 3600, description="how long a told link to a video works"
    )
    signing_keys: SecretList = Field(default=(), description="keys of reply URLs, newest first")
    api_keys: SecretList = Field(default=(), description="keys that programs call /v1 with")
    reply_keys: SecretList = Field(default=(), description="user:key of each detached client, newest first")
    allow_detached: bool = Field(default=False, description="whether jobs of detached clients are taken")
    max_detached_jobs: int = Field(
        default=1000, ge=1, description="detached jobs of one user that may appear in a day; then 503"
    )
    notification_secrets: SecretList = Field(default=(), description="whsec_… that sign notifications, newest first")
    allowed_networks: TextList = Field(default=(), description="private networks that may be talked to, as CIDR")
    trusted_proxies: TextList = Field(
        default=(), description="networks of your proxies, as CIDR: their X-Forwarded-For is believed"
    )
    refusals_per_minute: int = Field(
        default=60, ge=0, le=1_000_000, description="wrong tokens an address may send before 429; 0: no limit"
    )
    requests_per_minute: int = Field(
        default=6000, ge=0, le=1_000_000, description="requests to /v1 an API key may make before 429; 0: no limit"
    )
    max_callback_bytes: int = Field(default=1024 * 1024, ge=1024, description="largest callback body taken")
    max_held_bytes: int = Field(
        default=64 * 1024 * 1024, ge=1024, description="callback bodies held in memory at a time, in all; then 503"
    )
    max_video_bytes: int = Field(default=4 * 1024**3, ge=1, description="largest video taken")
    min_free_disk_bytes: int = Field(
        default=1024**3, ge=0, description="room to be left on the disk: with less, downloads wait; callbacks do not"
    )
    download_concurrency: int = Field(
        default=8, ge=1, le=64, description="downloads at a time, by all workers together"
    )
    downloads_per_host: int = Field(
        default=4, ge=1, le=64, description="downloads at a time from one media host, by all workers"
    )
    slowest_download_bytes_per_second: int = Field(
        default=8192, ge=0, description="a download slower than this over 30 s is broken off and resumed; 0: no limit"
    )
    delivery_concurrency: int = Field(
        default=64, ge=1, le=256, description="notifications sent at a time, by each worker"
    )
    endpoint_concurrency: int = Field(
        default=8, ge=1, le=256, description="notifications sent to one endpoint at a time"
    )
    relay_concurrency: int = Field(
        default=4, ge=1, le=64, description="relayed submits held open at a time, by all workers"
    )
    relay_patience_seconds: int = Field(
        default=3600,
        ge=0,
        le=86_400,
        description="seconds a relayed submit waits in all for a provider that takes no more; 0 does not wait",
    )
    endpoints: tuple[EndpointSettings, ...] = Field(
        default=(), repr=False, description="places to notify of all jobs or one user's; JSON in the environment"
    )
    smtp_host: str = Field(default="", description="mail server for e-mail notifications")
    smtp_port: int = Field(default=587, ge=1, le=65535, description="its port")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="starttls, tls, or none on this machine only"
    )
    smtp_user: str = Field(default="", description="who logs in to the mail server; nobody when empty")
    smtp_password: SecretStr = Field(default=SecretStr(""), description="the password for smtp_user")
    smtp_from: str = Field(default="", description="who mails are from, such as Replyhook <replyhook@example.com>")
    smtp_ca_file: str = Field(
        default="", description="certificates the mail server's is checked by; by default the system's"
    )
    channels: dict[str, dict[str, Any]] = Field(
        default_factory=dict, repr=False, description="settings of further channels, by name; JSON in the environment"
    )
    keep_bodies_days: int = Field(
        default=30, ge=1, le=3650, description="days until callbacks' raw bodies and headers are dropped"
    )
    keep_notifications_days: int = Field(
        default=30, ge=1, le=3650, description="days that the stream's past, deliveries and their tries are kept"
    )
    keep_history_days: int = Field(
        default=400, ge=60, le=36_500, description="days that jobs, events and what keeps them apart are kept"
    )
    keep_videos_days: int = Field(
        default=0, ge=0, le=36_500, description="days that stored videos are kept; 0: for ever"
    )
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$", description="how much is logged")
    log_format: Literal["auto", "text", "json"] = Field(
        default="auto", description="text, json (a line each), or auto: text on a terminal, json elsewhere"
    )
    metrics: bool = Field(
        default=False, description="whether /metrics is there, for Prometheus; needs the extra [metrics]"
    )
    metrics_token: SecretStr = Field(
        default=SecretStr(""), description="the bearer token of /metrics; an API key when empty"
    )
    tracing: bool = Field(
        default=False, description="whether each job is an OpenTelemetry trace; needs the extra [otel], and OTEL_… set"
    )
    providers: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        repr=False,
        description="per provider: its API key, addresses, media hosts, pinned senders",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what ``load`` passes: it merges the sources itself, from the mapping it is given."""
        return (init_settings,)

    @field_validator(
        "signing_keys",
        "api_keys",
        "reply_keys",
        "notification_secrets",
        "allowed_networks",
        "trusted_proxies",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("signing_keys", "api_keys")
    @classmethod
    def _long_enough(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value()) < MIN_KEY_LENGTH for key in value):
            raise ValueError(f"each needs at least {MIN_KEY_LENGTH} characters")
        return value

    @field_validator("reply_keys")
    @classmethod
    def _bound_to_a_user(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if value:
            try:
                ReplyKeys([key.get_secret_value() for key in value])
            except ConfigurationError as error:
                raise ValueError(str(error)) from None
        return value

    @field_validator("notification_secrets")
    @classmethod
    def _signs(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in value:
            try:
                standard_webhooks_key(secret.get_secret_value())
            except ConfigurationError as error:
                raise ValueError(str(error)) from None
        return value

    @field_validator("allowed_networks", "trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ip_network(network, strict=False)
        return value

    @field_validator("endpoints")
    @classmethod
    def _named_apart(cls, value: tuple[EndpointSettings, ...]) -> tuple[EndpointSettings, ...]:
        names = [endpoint.name for endpoint in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two are called {twice[0]!r}: each needs a name of its own")
        return value

    @model_validator(mode="after")
    def _mail_can_be_sent(self) -> "Settings":
        missing = [name for name in ("smtp_host", "smtp_from") if not getattr(self, name)]
        if len(missing) == 1:
            raise ValueError(f"{missing[0]}: e-mail needs smtp_host and smtp_from")
        if bool(self.smtp_user) != bool(self.smtp_password.get_secret_value()):
            raise ValueError("smtp_user and smtp_password: a log-in needs both")
        if self.smtp_host and self.smtp_security == "none" and not is_loopback(self.smtp_host):
            raise ValueError("smtp_security: none is only for a mail server on this machine")
        return self

    @field_validator("public_url")
    @classmethod
    def _reachable(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment):
            raise ValueError("must begin with https:// (or http:// on loopback), name a host, and hold no query")
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise ValueError("is http:// and not this machine: callbacks and keys would travel in the clear")
        return value.rstrip("/")

    @field_validator("providers")
    @classmethod
    def _known_providers(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        problems = []
        for name, given in value.items():
            try:
                make_provider(name, given)
            except ConfigurationError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("; ".join(problems))
        return value

    def make_reply_keys(self) -> ReplyKeys | None:
        """The keys of detached clients, where their jobs are taken. Raises ``ConfigurationError``."""
        if not self.allow_detached:
            return None
        keys = [key.get_secret_value() for key in self.reply_keys]
        others = {key.get_secret_value() for key in (*self.signing_keys, *self.api_keys)}
        if others & {key.rpartition(":")[2] for key in keys}:
            raise ConfigurationError(
                "a reply key is also a signing key or an API key: it is to be used for nothing else"
            )
        return ReplyKeys(keys)

    @property
    def database_path(self) -> Path:
        """The SQLite file. Raises ``ConfigurationError`` where the database is PostgreSQL."""
        url = self.database_url.get_secret_value()
        if self.postgres_url is not None:
            raise ConfigurationError("the database is PostgreSQL (database_url), and this is for a SQLite file")
        return _local_path(url, "sqlite") if url else self.data_dir / "replyhook.db"

    @property
    def postgres_url(self) -> str | None:
        """Where PostgreSQL is, with the password; None where the database is a SQLite file."""
        url = self.database_url.get_secret_value()
        return url if url.startswith(_POSTGRES) else None

    @property
    def storage_place(self) -> Path | Bucket:
        """Where videos are kept."""
        place = read_place(self.storage_url) if self.storage_url else self.data_dir / "videos"
        return replace(place, endpoint=self.storage_endpoint) if isinstance(place, Bucket) else place

    @property
    def folder_to_share(self) -> Path | None:
        """The folder of videos that all receivers and workers have to share; None where each finds them anyhow."""
        place = self.storage_place
        return place if self.postgres_url is not None and isinstance(place, Path) else None

    @property
    def storage_path(self) -> Path:
        """The folder videos come into: where they stay, or wait for their upload."""
        place = self.storage_place
        return self.data_dir / "spool" if isinstance(place, Bucket) else place

    @property
    def trusted_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """``trusted_proxies``, read."""
        return tuple(ip_network(network, strict=False) for network in self.trusted_proxies)

    def make_providers(self) -> dict[str, Provider]:
        """Every provider, as it is set up here."""
        return {name: make_provider(name, self.providers.get(name)) for name in PROVIDERS}

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value():
            database_of(value.get_secret_value())
        return value

    @field_validator("storage_url")
    @classmethod
    def _place(cls, value: str) -> str:
        if value:
            read_place(value)
        return value

    @field_validator("storage_endpoint")
    @classmethod
    def _endpoint(cls, value: str) -> str:
        return checked_endpoint(value) if value else value


def database_of(url: str) -> Path | str:
    """The SQLite file that a URL names, or PostgreSQL's URL itself. Raises ``ValueError``, which does not repeat it."""
    if url.startswith(_POSTGRES):
        _check_postgres(url)
        return url
    try:
        return _local_path(url, "sqlite")
    except ValueError:
        raise ValueError("must be sqlite:///path, or postgresql://user:password@host:5432/database") from None


def _local_path(url: str, scheme: str) -> Path:
    prefix = f"{scheme}:///"
    if not url.startswith(prefix) or len(url) == len(prefix):
        raise ValueError(f"must be {prefix}path with a path")
    path = url[len(prefix) :]
    return Path(path if scheme == "sqlite" else f"/{path}")


def _check_postgres(url: str) -> None:
    """See that it can be read. Raises ``ValueError``, which does not repeat it: it holds a password."""
    try:
        database = urlsplit(url).path.strip("/")
    except ValueError:
        database = ""
    if not database:
        allowed = "must name the database: postgresql://user:password@host:5432/database"
        raise ValueError(f"{allowed}, with special characters of the password as %-codes")


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
