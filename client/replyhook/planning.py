"""Whom a job can go to, with what, and what it would cost: everything about a submit that needs nobody asked."""

from collections.abc import Mapping, Sequence
from typing import Any

from replyhook.arguments import ClientSettings, EstimateArguments, Job, JobArguments, SubmitArguments
from replyhook.errors import ConfigurationError, InvalidRequest, ReplyhookError
from replyhook.ids import new_id
from replyhook.jobs import SourceKind, VideoSource
from replyhook.local_video import opened_video
from replyhook.pricing import Price
from replyhook.providers import CallbackKind, Capabilities, Provider
from replyhook.routing import AUTO, Candidate, Estimate, Plan, auto_order, check_price, choose, ranked
from replyhook.steps import Submission
from replyhook.uploading import check_size
from replyhook.urls import shown_url

_OF_ONE_PROVIDER = (SourceKind.PROVIDER_JOB, SourceKind.UPLOAD)


def prepare(settings: ClientSettings, arguments: SubmitArguments) -> tuple[Plan, float]:
    """Whom to submit to and what, and how many seconds to be patient. Sends nothing.

    Raises ``InvalidRequest``, ``ConfigurationError`` and ``NoProviderLeft``; like any call, ``TypeError`` for an
    argument that is not there or missing.
    """
    _check_names("submit", arguments, SubmitArguments)
    job = _job(settings, arguments)
    named = arguments["provider"]
    if isinstance(named, str) and named != AUTO:
        candidate = _candidate(settings, named, job)
        if candidate.submission is None:
            raise candidate.estimate.problem or AssertionError("a candidate is ready or has a problem")
        return Plan(submissions=[candidate.submission]), job.patience_seconds
    candidates = [_candidate(settings, name, job) for name in _named(named, job.source)]
    return choose(candidates, job.prefer), job.patience_seconds


def estimate(settings: ClientSettings, arguments: EstimateArguments) -> tuple[Estimate, ...]:
    """What each provider would make of a job, in the order they would be asked; those that would not be come last.

    Raises as ``prepare`` does, but not for what only one provider objects to.
    """
    _check_names("estimate", arguments, EstimateArguments)
    job = _job(settings, arguments)
    named = arguments.get("provider", AUTO)
    names = [named] if isinstance(named, str) and named != AUTO else _named(named, job.source)
    return ranked([_candidate(settings, name, job).estimate for name in names], job.prefer)


def _job(settings: ClientSettings, arguments: JobArguments) -> Job:
    job = Job.of(arguments)
    if settings.detached is not None:
        settings.detached.check(user=job.user, notify=job.notify)
    return job


def _check_names(call: str, arguments: Mapping[str, Any], kind: Any) -> None:
    unknown = set(arguments) - set(kind.__annotations__)
    missing = kind.__required_keys__ - set(arguments)
    if unknown or missing:
        what = f"has no argument {min(unknown)!r}" if unknown else f"needs {', '.join(sorted(missing))}"
        raise TypeError(f"{call}() {what}")


def _named(named: object, source: VideoSource) -> list[str]:
    """The providers that are meant, each once."""
    if isinstance(named, str):
        names = list(auto_order())
    elif isinstance(named, Sequence) and named and all(isinstance(name, str) for name in named):
        names = list(dict.fromkeys(named))
    else:
        raise InvalidRequest("provider", named, f"a provider's name, a list of names, or {AUTO!r}")
    if len(names) > 1 and source.kind in _OF_ONE_PROVIDER:
        raise InvalidRequest("provider", named, "an earlier video's id is one provider's own: name that one")
    return names


def _candidate(settings: ClientSettings, name: str, job: Job) -> Candidate:
    """What the provider called ``name`` would make of the job. Raises ``ConfigurationError`` where there is none."""
    provider = settings.provider(name)
    price: Price | None = None
    submission: Submission | None = None
    problem: ReplyhookError | None = None
    try:
        if settings.detached is not None:
            settings.detached.check_provider(provider)
        request = provider.capabilities.prepare(job.request)
        price = provider.capabilities.price(request)
        submission = Submission(
            job_id=new_id("job"),
            provider=provider,
            request=request,
            source=_checked_source(job.source, provider.capabilities),
            reference=job.reference,
            user=job.user,
            notify=job.notify,
        )
        check_price(price, job.max_price, provider=name)
        _check_ready(provider, job.source)
        if settings.detached is not None:
            submission = settings.detached.prepare(submission)
    except (InvalidRequest, ConfigurationError) as error:
        problem, submission = error, None
    return Candidate(estimate=Estimate(provider=name, price=price, problem=problem), submission=submission)


def _check_ready(provider: Provider, source: VideoSource) -> None:
    capabilities = provider.capabilities
    if capabilities.callback is CallbackKind.NONE:  # relayed: the key and all else is the receiver's
        if source.kind in capabilities.uploads and not provider.api_key:
            raise ConfigurationError(
                f"{capabilities.name} is submitted to by the receiver, which cannot reach this video: give a URL, or "
                f"the key to upload it with (provider_keys={{{capabilities.name!r}: …}} or {capabilities.key_variable})"
            )
        return
    if not provider.api_key:
        raise ConfigurationError(
            f"no API key for {capabilities.name}: "
            f"pass provider_keys={{{capabilities.name!r}: …}} or set {capabilities.key_variable}"
        )
    provider.check_ready()


def _checked_source(source: VideoSource, capabilities: Capabilities) -> VideoSource:
    possible = capabilities.takes | capabilities.uploads
    if source.kind not in possible:
        kinds = ", ".join(sorted(possible))
        raise InvalidRequest("video", source.kind.value, f"it takes {kinds}", provider=capabilities.name)
    if source.kind in capabilities.uploads:
        _check_upload(source, capabilities)
    return source


def _check_upload(source: VideoSource, capabilities: Capabilities) -> None:
    """Every published limit of an upload that can be checked without decoding; the rest is the provider's."""
    name = capabilities.name
    check_size(source, source.size_bytes, capabilities.max_upload_bytes, provider=name)
    endings = capabilities.upload_suffixes
    if endings and source.suffix and source.suffix not in endings:
        allowed = f"a file that ends in {', '.join(endings)}"
        raise InvalidRequest("video", shown_url(source.text), allowed, provider=name)
    if not endings or source.kind is SourceKind.URL:
        return
    with opened_video(path=source.text, file=source.opened, data=source.data, mark=source.mark) as reader:
        header = reader.header()
    if header.container is None:
        allowed = f"the bytes of a video ({', '.join(ending[1:] for ending in endings)}); these begin otherwise"
        raise InvalidRequest("video", source.text or f"{source.size_bytes} bytes", allowed, provider=name)
    seconds, most_seconds = header.seconds, capabilities.max_upload_seconds
    if seconds is not None and most_seconds is not None and seconds >= most_seconds + 1:
        raise InvalidRequest("video", f"{seconds:.1f} s", f"at most {most_seconds} s long", provider=name)
    side, most_pixels = header.longest_side_pixels, capabilities.max_upload_side_pixels
    if side is not None and most_pixels is not None and side > most_pixels:
        raise InvalidRequest("video", f"{side} pixels", f"at most {most_pixels} pixels on either side", provider=name)
