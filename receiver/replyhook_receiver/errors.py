"""Every error the receiver raises on purpose, beside the library's.

* ReceiverTrouble
  + StoreUnavailable        the store could not commit: the caller may send the same again
    - Overloaded            more is waiting to be committed than we take on
    - DetachedLimit         a user's detached jobs are more than may appear in a day
  + UnknownJob              no such job
  + UnknownCallback         no such callback
  + BindConflict            the callback cannot be bound to that job
  + CancelConflict          the job cannot be canceled from here
  + ProviderAway            a provider could not be asked now: the same may be asked again
  + LinkUnknown             a link to a video that we did not sign
  + LinkExpired             a link to a video whose time is over
  + UnknownDelivery         no such delivery
  + DeliverySuperseded      a later notification has made it pointless
  + RegistrationConflict    the job is registered with other contents
  + SubmissionConflict      the job's submission was reported differently before
  + NetworkRefused          the address or URL is not one we talk to
    - HostNotListed         not one of the provider's media hosts
  + NetworkTrouble          the other side could not be reached or broke off
    - Unreachable           no connection was made, so certainly nothing was sent
  + AnswerTooLarge          more bytes than we take
  + DownloadRefused         the other side answered, but not with a video
    - LinkRefused           it answered that it is not there, or not for us
    - LinkDead              nobody has a link that answers with this video
  + NotAVideo               what came is not a whole video
  + StorageTrouble          the place for videos could not be written or read
  + LowDisk                 there is no room for it: it waits
  + PartInUse               another worker is at it
  + TurnOver                others wait for its place: it goes on later
  + DeliveryRefused         an endpoint answered, but not with success
    - EndpointGone          it asked not to be called again
    - NeverTaken            it said that it will never take this
  + ChannelTrouble          a channel could not do its work: a service away, a setting wrong
  + UnknownEndpoint         no such endpoint
  + EndpointConflict        the endpoint cannot be changed so
  + UnknownKey              no such API key
  + ResultMissing           the provider has no result yet
  + NoNews                  no callback came, and the provider, asked as often as it may be, had no end to tell
  + NothingToDo             nothing of a job could be tried again, or asked about
  + CannotAsk               a question cannot be asked: the provider's key or its job id is not known

``retryable`` on the class is what the worker asks; never a list of types. So is ``counts``: whether a try that ended so
was one.
"""

from datetime import timedelta
from typing import ClassVar

from replyhook_receiver.answers import Answer


class ReceiverTrouble(Exception):
    """Anything the receiver raises on purpose."""

    retryable: ClassVar[bool] = False
    counts: ClassVar[bool] = True
    retry_after: timedelta | None = None
    answer: Answer | None = None
    """How the other side took a delivery, where one was tried."""


class StoreUnavailable(ReceiverTrouble):
    """The store could not commit. Nothing of the request is kept; the same may be sent again."""

    retryable = True


class Overloaded(StoreUnavailable):
    """More is waiting to be committed than we take on."""


class DetachedLimit(StoreUnavailable):
    """A user's detached jobs are more than may appear in a day. Not possible now: the same may be told of later."""


class UnknownJob(ReceiverTrouble):
    """No such job."""


class UnknownCallback(ReceiverTrouble):
    """No such callback."""


class BindConflict(ReceiverTrouble):
    """The callback cannot be bound to that job."""


class CancelConflict(ReceiverTrouble):
    """The job cannot be canceled from here: it has ended, or nobody here can ask its provider to."""


class ProviderAway(ReceiverTrouble):
    """A provider could not be asked now. The same may be asked again."""

    retryable = True


class LinkUnknown(ReceiverTrouble):
    """A link to a video that we did not sign."""


class LinkExpired(ReceiverTrouble):
    """A link to a video whose time is over."""


class UnknownDelivery(ReceiverTrouble):
    """No such delivery."""


class DeliverySuperseded(ReceiverTrouble):
    """A later notification has made this delivery pointless."""


class NothingToDo(ReceiverTrouble):
    """Nothing of a job could be tried again, or asked about."""


class RegistrationConflict(ReceiverTrouble):
    """The job is registered with other contents."""


class SubmissionConflict(ReceiverTrouble):
    """The job's submission was reported differently before."""


class NetworkRefused(ReceiverTrouble):
    """The address or URL is not one we talk to. The message never holds the URL."""


class HostNotListed(NetworkRefused):
    """The host is not one of the provider's media hosts."""


class NetworkTrouble(ReceiverTrouble):
    """The other side could not be reached or broke off."""

    retryable = True


class Unreachable(NetworkTrouble):
    """No connection was made, so certainly nothing was sent."""


class AnswerTooLarge(ReceiverTrouble):
    """More bytes than we take."""


class DownloadRefused(ReceiverTrouble):
    """The other side answered, but not with a video."""

    retryable = True


class LinkRefused(DownloadRefused):
    """The link answered that the video is not there, or not for us. Its provider may have a fresh one."""


class LinkDead(DownloadRefused):
    """Nobody has a link that answers with this video."""

    retryable = False


class NotAVideo(ReceiverTrouble):
    """What came is not a whole video. It may be on a second try: cut connections look like this."""

    retryable = True


class StorageTrouble(ReceiverTrouble):
    """The place for videos could not be written or read. The message never holds an address or a credential."""

    retryable = True


class LowDisk(ReceiverTrouble):
    """There is no room for a video. It waits until there is, for as long as that takes."""

    retryable = True
    counts = False
    retry_after = timedelta(minutes=1)


class PartInUse(ReceiverTrouble):
    """Another worker, or a process that has not ended yet, is fetching this very video."""

    retryable = True
    counts = False
    retry_after = timedelta(seconds=5)


class TurnOver(ReceiverTrouble):
    """A download was broken off for others that wait for its place; it goes on after ``pause`` where it stopped."""

    retryable = True
    counts = False

    def __init__(self, message: str, *, pause: timedelta) -> None:
        super().__init__(message)
        self.retry_after = pause


class DeliveryRefused(ReceiverTrouble):
    """An endpoint answered, but not with success."""

    retryable = True

    def __init__(self, message: str, *, status: int, text: str = "", retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.answer = Answer(status=status, text=text)
        self.retry_after = retry_after


class EndpointGone(DeliveryRefused):
    """The endpoint asked not to be called again (410)."""

    retryable = False


class NeverTaken(DeliveryRefused):
    """The other side said that it will never take this: a mailbox that is not there."""

    retryable = False


class ChannelTrouble(ReceiverTrouble):
    """A channel could not do its work. The message never holds a URL: those of chat services are secrets."""

    retryable = True


class UnknownEndpoint(ReceiverTrouble):
    """No such endpoint."""


class EndpointConflict(ReceiverTrouble):
    """The endpoint cannot be changed so."""


class UnknownKey(ReceiverTrouble):
    """No such API key."""


class ResultMissing(ReceiverTrouble):
    """The provider said "done" but has no result to show yet."""

    retryable = True


class NoNews(ReceiverTrouble):
    """No callback came, and the provider, asked as often as it may be, had no end to tell."""


class CannotAsk(ReceiverTrouble):
    """A question to a provider cannot be asked: its API key or its job id is not known here."""
