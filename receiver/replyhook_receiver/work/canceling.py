"""Asking a provider to cancel a job, with the receiver's own key: once, at somebody's wish, and never by itself."""

from collections.abc import Mapping

from replyhook.errors import CancelNotPossible, ProviderUnavailable, ReplyhookError, SubmissionRefused
from replyhook.providers import Provider
from replyhook_receiver.errors import CancelConflict, NetworkTrouble, ProviderAway
from replyhook_receiver.net import Door
from replyhook_receiver.records import JobRecord


class Canceler:
    """What it asks by."""

    def __init__(self, *, door: Door, providers: Mapping[str, Provider]) -> None:
        self._door = door
        self._providers = providers

    async def ask(self, job: JobRecord) -> None:
        """Ask. Raises ``CancelConflict`` where that cannot be, or is refused; ``ProviderAway`` for no answer."""
        provider = self._providers[job.provider]
        capabilities = provider.capabilities
        if not capabilities.can_cancel:
            raise CancelConflict(f"{job.provider} has no way to cancel a job that was submitted: it goes on")
        if not provider.api_key:
            words = f"only who holds {job.provider}'s key can cancel there: set {capabilities.key_variable} and ask it"
            raise CancelConflict(f"{words} (`replyhook jobs cancel` does), or give the receiver the key")
        request = provider.build_cancel(job.provider_job_id) if job.provider_job_id else None
        if request is None:
            raise CancelConflict(f"{job.provider}'s own id of the job is not known yet: cancel it again in a moment")
        try:
            provider.parse_cancel(await self._door.send(request))
        except (CancelNotPossible, SubmissionRefused) as error:
            raise CancelConflict(str(error)) from error
        except (NetworkTrouble, ProviderUnavailable, ReplyhookError) as error:
            words = f"{job.provider} could not be asked to cancel it ({type(error).__name__})"
            raise ProviderAway(f"{words}: cancel it again in a moment") from error
