"""From a provider's request to a kept report: token, signature, then everything in one transaction.

The order is the promise: the token first because it is cheap, the sender and the time before any fetch of keys, the
signature on the raw bytes before anything is parsed, and the answer only after the commit.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from replyhook.errors import NoMatchingKey, OtherSender, UnreadableMessage, VerificationError
from replyhook.ids import new_id
from replyhook.jobs import JobEvent, Trust
from replyhook.messages import Callback
from replyhook.providers import CallbackKind, Provider, VerificationKeys
from replyhook.tokens import DetachedToken, ReplyKeys, ReplyToken, TokenKeys
from replyhook_receiver.callback_lines import CallbackLines
from replyhook_receiver.counters import Refusals, reason_of
from replyhook_receiver.errors import DetachedLimit
from replyhook_receiver.jwks import KeySet
from replyhook_receiver.lifecycle import Verdict
from replyhook_receiver.records import Accepted, DetachedJob, Report
from replyhook_receiver.stores.base import Store
from replyhook_receiver.tracing import Tracing

MAX_LINK_LENGTH = 8_192
_APPLIED = Verdict.APPLIED

CREATES_JOB_WITHIN = timedelta(days=30)
SENDERS_FOR = timedelta(seconds=10)
"""How long the known senders are believed to be all."""


class Ingest:
    """Takes callbacks. ``key_sets`` holds the public keys of the providers that sign with such.

    What was kept is counted in ``taken``, by provider, trust and verdict, and told to ``tracing`` where that is on.
    """

    def __init__(
        self,
        *,
        providers: Mapping[str, Provider],
        tokens: TokenKeys,
        reply_keys: ReplyKeys | None = None,
        max_detached_jobs: int = 0,
        key_sets: Mapping[str, KeySet],
        store: Store,
        refusals: Refusals,
        now: Callable[[], datetime],
        taken: Counter[tuple[str, str, str]] | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._providers = providers
        self._tokens = tokens
        self._reply_keys = reply_keys
        self._max_detached_jobs = max_detached_jobs
        self._key_sets = key_sets
        self._store = store
        self._refusals = refusals
        self._now = now
        self._taken = Counter() if taken is None else taken
        self._tracing = tracing
        self._lines = CallbackLines()
        self._senders: dict[tuple[str, str], tuple[str, ...]] = {}
        self._senders_at = datetime.min.replace(tzinfo=UTC)
        self._kinds = {name: provider.capabilities.callback for name, provider in providers.items()}

    async def start(self) -> None:
        """Load what was learned about senders."""
        await self._load_senders()

    def knows(self, provider: str) -> bool:
        """Whether there is such a provider."""
        return provider in self._providers

    def read_token(self, provider: str, token: str) -> ReplyToken:
        """The reply URL's token, checked: a job's or an account's, as the provider calls back.

        Raises ``VerificationError``.
        """
        kind = self._kinds[provider]
        try:
            try:
                read = self._tokens.read(token, provider=provider)
            except VerificationError:
                if self._reply_keys is None:
                    raise
                read = self._reply_keys.read(token, provider=provider)
            if kind is not (CallbackKind.ACCOUNT if read.job_id is None else CallbackKind.PER_JOB):
                raise VerificationError("the provider does not call back with such a token")
            return read
        except VerificationError as error:
            self._refusals.add(provider, str(error))
            raise

    async def take(self, token: ReplyToken, headers: tuple[tuple[str, str], ...], body: bytes) -> Accepted:
        """Verify a callback and keep it with all that follows from it; on disk when this returns.

        Raises ``VerificationError`` (not believed, nothing kept but a count), ``KeysUnavailable`` and
        ``StoreUnavailable`` (our own trouble: the same may be sent again).
        """
        begun = 0 if self._tracing is None else time.time_ns()
        callback = Callback(provider=token.provider, headers=headers, body=body, received_at=self._now())
        try:
            if not self._knows_senders(callback.received_at):
                await self._load_senders()  # another receiver on the same database may have learned one
            trust = await self._verify(callback, token.account)
            await self._check_age(token, callback.received_at)
            report = self._report(token, callback, trust)
            accepted = await self._store.accept(report)
        except Exception as error:
            self._count_refusal(token, error)
            raise
        self._count(report, accepted, begun)
        return accepted

    def _knows_senders(self, now: datetime) -> bool:
        return timedelta(0) <= now - self._senders_at < SENDERS_FOR

    async def _load_senders(self) -> None:
        self._senders_at = self._now()
        self._senders = await self._store.senders()

    def take_at_once(
        self,
        token: ReplyToken,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        settle: Callable[[Accepted | Exception], None],
    ) -> bool:
        """The same without waiting: ``settle`` hears what ``take`` returns or raises; what is known at once is raised.

        False, and nothing has happened, where keys or senders would have to be fetched or the job looked for.
        """
        begun = 0 if self._tracing is None else time.time_ns()
        callback = Callback(provider=token.provider, headers=headers, body=body, received_at=self._now())
        if not self._knows_senders(callback.received_at):
            return False
        try:
            try:
                trust = self._verify_by_known_keys(callback, token.account)
            except NoMatchingKey:
                if callback.provider not in self._key_sets:
                    raise
                return False
            if _is_too_old_to_create(token, callback.received_at):
                return False
            report = self._report(token, callback, trust)
            self._store.accept_then(report, lambda outcome: settle(self._counted(report, outcome, begun)))
        except Exception as error:
            self._count_refusal(token, error)
            raise
        return True

    def _counted(self, report: Report, outcome: Accepted | Exception, begun: int) -> Accepted | Exception:
        if isinstance(outcome, Exception):
            self._count_refusal(report, outcome)
        else:
            self._count(report, outcome, begun)
        return outcome

    def _count(self, report: Report, accepted: Accepted, begun: int) -> None:
        self._taken[report.provider, report.trust, accepted.verdict or "orphan"] += 1
        if self._tracing is not None:
            self._tracing.called_back(accepted, report.trust, begun)
        if accepted.verdict is not _APPLIED:
            self._lines.kept(report.provider, accepted)
        if accepted.learned_sender and report.sender is not None:
            self._senders[report.provider, report.account] = (report.sender,)  # learned only where none was known

    def _count_refusal(self, told: ReplyToken | Report, error: Exception) -> None:
        reason = reason_of(error)
        if reason is not None:
            self._refusals.add(told.provider, reason)
        match error:
            case OtherSender():
                self._lines.other_sender(told.provider, told.job_id)
            case DetachedLimit():
                self._lines.detached_limit(told.provider, told.job_id, error)

    async def _verify(self, callback: Callback, account: str) -> Trust:
        key_set = self._key_sets.get(callback.provider)
        try:
            return self._verify_by_known_keys(callback, account)
        except NoMatchingKey:
            if key_set is None:
                raise
        provider = self._providers[callback.provider]
        fresh = self._keys(provider, callback.provider, account, await key_set.refetched())
        return provider.verify(callback, keys=fresh, now=callback.received_at)

    def _verify_by_known_keys(self, callback: Callback, account: str) -> Trust:
        provider = self._providers[callback.provider]
        key_set = self._key_sets.get(callback.provider)
        keys = self._keys(provider, callback.provider, account, key_set.current() if key_set else ())
        return provider.verify(callback, keys=keys, now=callback.received_at)

    def _keys(self, provider: Provider, name: str, account: str, public_keys: tuple[bytes, ...]) -> VerificationKeys:
        return VerificationKeys(
            public_keys=public_keys,
            secrets=provider.callback_secrets(account),
            senders=self._senders.get((name, account), ()),
        )

    async def _check_age(self, token: ReplyToken, now: datetime) -> None:
        """A token brings a missing job to life only while it is young; a job we know may be told of at any age."""
        if token.job_id is None or not _is_too_old_to_create(token, now):
            return
        if await self._store.job(token.job_id) is None:
            raise VerificationError("the reply URL's token is too old for a job we do not know")

    def _report(self, token: ReplyToken, callback: Callback, trust: Trust) -> Report:
        provider = self._providers[callback.provider]
        detached = None
        if isinstance(token, DetachedToken):
            detached = DetachedJob(user=token.user, reference=token.reference, max_per_day=self._max_detached_jobs)
        event: JobEvent | None
        try:
            event = provider.parse_callback(callback)
        except UnreadableMessage:
            event = None
        if event is not None and event.result is not None and len(event.result.url) > MAX_LINK_LENGTH:
            event = replace(event, result=None)  # nobody can fetch it: the result is asked for, as where none came
        return Report(
            callback_id=new_id("cb", at=callback.received_at.timestamp()),
            provider=callback.provider,
            job_id=token.job_id,
            account=token.account,
            nonce=provider.nonce(callback),
            received_at=callback.received_at,
            headers=callback.headers,
            body=callback.body,
            trust=trust,
            event=event,
            sender=provider.sender(callback),
            detached=detached,
        )


def _is_too_old_to_create(token: ReplyToken, now: datetime) -> bool:
    return token.job_id is not None and now - token.issued_at > CREATES_JOB_WITHIN
