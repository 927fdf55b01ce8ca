"""What the API answers about providers, about settings, and about what was done for a job by hand."""

from typing import Any

from replyhook.providers import CallbackKind
from replyhook_receiver.web.answer_models import Moment, Told


class Missing(Told):
    """What has to be set: what it is, and the variable that sets it, where one does."""

    what: str
    variable: str | None


class PublicKeys(Told):
    """The public keys that a provider signs with, as they were fetched last."""

    count: int
    fetched_at: Moment | None
    age_seconds: int | None
    problem: str | None


class Waits(Told):
    """Seconds from submit to callback: half of the jobs within ``p50``, 95 % within ``p95``."""

    p50: float | None
    p95: float | None


class Users(Told):
    """How many of a provider's users its signed callbacks are believed for: by the settings, else as was learned."""

    configured: int
    learned: int


class ProviderTold(Told):
    """How a provider is set up here and how it does. Of keys and secrets it says whether they are there.

    ``reply_urls`` is what its reply URLs begin with, null where it calls nobody back; ``can_call_back`` whether they
    lead anywhere for it.
    """

    name: str
    title: str
    configured: bool
    has_key: bool
    missing: list[Missing]
    reply_urls: str | None
    can_call_back: bool
    media_hosts: list[str]
    users: Users | None
    account: str
    callback: CallbackKind
    is_account_wide: bool
    signed: bool
    jobs: int
    succeeded: int
    failed: int
    success_rate: float | None
    public_keys: PublicKeys | None
    called_back_after_seconds: Waits
    verification_failures: dict[str, int]
    last_callback: Moment | None


class ProviderList(Told):
    """All providers."""

    data: list[ProviderTold]


class AccountURL(Told):
    """What to enter in the console of a provider with one webhook per account."""

    name: str
    account: str
    reply_url: str


class SettingTold(Told):
    """A setting in force, a secret masked, and where it comes from."""

    name: str
    value: Any
    origin: str


class SettingList(Told):
    """All settings."""

    data: list[SettingTold]


class RetriedJob(Told):
    """What of a job was put back."""

    id: str
    retried: list[str]


class AskedJob(Told):
    """A job whose provider is asked."""

    id: str
    asked: bool
