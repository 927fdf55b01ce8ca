"""A client without the receiver's API key: it mints its reply URLs itself, and hears nothing back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from replyhook.errors import ConfigurationError, InvalidRequest
from replyhook.providers import PROVIDERS, CallbackKind, Provider, make_provider
from replyhook.receiver_api import check_address
from replyhook.steps import Submission
from replyhook.tokens import ReplyKeys, build_reply_url


@dataclass(frozen=True, slots=True, kw_only=True)
class Detached:
    """The reply keys, and the public address of the receiver that knows them too."""

    keys: ReplyKeys
    public_url: str

    @classmethod
    def build(cls, reply_keys: Sequence[str], public_url: str | None) -> "Detached":
        """Raises ``ConfigurationError`` for a key or an address that cannot be right."""
        if isinstance(reply_keys, str):
            raise ConfigurationError("reply_keys is a list of user:key")
        if not public_url:
            raise ConfigurationError(
                "reply_keys need public_url= (REPLYHOOK_PUBLIC_URL): where the receiver is called back"
            )
        check_address(public_url, what="public_url")
        return cls(keys=ReplyKeys(tuple(reply_keys)), public_url=public_url)

    def check(self, *, user: str | None, notify: Sequence[object]) -> None:
        """Raise ``InvalidRequest`` for what only a registered job can have, whoever gets it."""
        if notify:
            raise InvalidRequest(
                "notify", "(not shown)", "a detached client registers nobody to be notified: leave it out"
            )
        if user not in (None, self.keys.user):
            raise InvalidRequest("user", user, f"the reply key is {self.keys.user}'s: leave it out")

    def check_provider(self, provider: Provider) -> None:
        """Raise ``InvalidRequest`` or ``ConfigurationError`` unless ``provider`` calls back to a URL of the job's."""
        name = provider.capabilities.name
        if provider.capabilities.callback is not CallbackKind.PER_JOB:
            possible = (other for other in sorted(PROVIDERS) if _takes_reply_url(other))
            raise InvalidRequest("provider", name, f"a detached client can use {', '.join(possible)}")
        if not provider.sends_reply_url:
            raise ConfigurationError(
                f"{name} is set up not to ask for callbacks, and a detached client's job is found by nothing else"
            )

    def prepare(self, submission: Submission) -> Submission:
        """``submission`` with its reply URL. Raises ``InvalidRequest`` for a reference that the URL cannot carry."""
        name, reference = submission.provider.capabilities.name, submission.reference
        now = datetime.now(UTC)
        token = self.keys.mint(provider=name, job_id=submission.job_id, reference=reference, now=now)
        try:
            reply_url = build_reply_url(self.public_url, provider=name, token=token)
        except ConfigurationError as error:
            if reference is None:
                raise
            raise InvalidRequest(
                "reply_ref", reference, f"the reply URL, which carries it, is too long: {error}"
            ) from error
        return replace(submission, user=self.keys.user, reply_url=reply_url)


def _takes_reply_url(name: str) -> bool:
    return make_provider(name).capabilities.callback is CallbackKind.PER_JOB
