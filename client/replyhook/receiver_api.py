"""The receiver's HTTP API seen from the library: pure pairs of build and parse."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from replyhook.errors import (
    ConfigurationError,
    InvalidRequest,
    JobConflict,
    JobNotFound,
    ReceiverError,
    ReceiverUnavailable,
    UnreadableMessage,
    VideoGone,
    VideoNotStored,
)
from replyhook.jobs import ExtendRequest
from replyhook.messages import HTTPRequest, HTTPResponse, as_object, check_header_value, read_json
from replyhook.results import JobPage, JobResult, read_job_page, read_job_result
from replyhook.tokens import MAX_REPLY_URL_LENGTH
from replyhook.tracing import trace_headers
from replyhook.urls import http_parts

LONGEST_STREAM_SECONDS = 24 * 3600.0
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def check_address(url: str, *, what: str) -> None:
    """Raise ``ConfigurationError`` for a receiver's address that cannot be right or would give secrets away."""
    parts = http_parts(url)
    if parts is None:
        raise ConfigurationError(f"{what} must begin with https:// (or http:// on loopback) and name a host")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS:
        raise ConfigurationError(
            f"{what} is http:// and {parts.hostname} is not this machine: "
            "keys and tokens would travel in the clear; use https://"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """What the receiver answers to a registration: where to be called back, and what will not work for the job."""

    reply_url: str = field(repr=False)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverAPI:
    """Where the receiver is and the key to it. Raises ``ConfigurationError`` for an address that cannot be right."""

    url: str
    api_key: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.url:
            raise ConfigurationError("no receiver_url: pass receiver_url= or set REPLYHOOK_RECEIVER_URL")
        check_address(self.url, what="receiver_url")
        if not self.api_key:
            raise ConfigurationError("no api_key for the receiver: pass api_key= or set REPLYHOOK_API_KEY")
        check_header_value(self.api_key, what="the receiver's API key")

    def build_register(
        self,
        job_id: str,
        *,
        provider: str,
        account: str,
        reference: str | None,
        user: str | None,
        notify: Sequence[str | dict[str, Any]],
        request: dict[str, Any],
        relay_video: str | None = None,
    ) -> HTTPRequest:
        """Make the job known; the answer holds its reply URL. The same call twice is the same job.

        With ``relay_video``, the video's URL, the receiver submits the job itself, and answers a repeat as the first.
        """
        targets = [{"url": entry} if isinstance(entry, str) else entry for entry in notify]
        content: dict[str, Any] = {
            "provider": provider,
            "account": account,
            "reference": reference,
            "user": user,
            "notify": targets,
            "request": request,
        }
        if relay_video is not None:
            content |= {"id": job_id, "video": relay_video}
            return self._request("POST", "/v1/jobs", json=content, headers={"idempotency-key": job_id})
        return self._request("PUT", f"/v1/jobs/{quote(job_id)}", json=content)

    def parse_register(self, response: HTTPResponse) -> Registered:
        """The reply URL for the job, and what the receiver warns of."""
        match self._answer(response):
            case {"reply_url": str(reply_url), **rest} if http_parts(reply_url):
                if len(reply_url) > MAX_REPLY_URL_LENGTH:
                    raise UnreadableMessage(
                        f"the receiver's reply URL has {len(reply_url)} characters, and a provider takes "
                        f"{MAX_REPLY_URL_LENGTH}: give the receiver a shorter public_url"
                    )
                warnings = rest.get("warnings")
                texts = warnings if isinstance(warnings, list) else []
                return Registered(reply_url=reply_url, warnings=tuple(text for text in texts if isinstance(text, str)))
            case _:
                raise UnreadableMessage("the receiver's answer holds no reply_url")

    def build_submission(
        self,
        job_id: str,
        *,
        outcome: str,
        provider_job_id: str | None = None,
        error: str | None = None,
        passed_on: bool = False,
    ) -> HTTPRequest:
        """Tell what became of the submit: ``accepted``, ``refused`` or ``unknown``.

        One that is ``passed_on`` was refused, and another provider is asked: nobody is notified of its end.
        """
        content: dict[str, Any] = {"outcome": outcome, "provider_job_id": provider_job_id, "error": error}
        if passed_on:
            content["passed_on"] = True
        return self._request("POST", f"/v1/jobs/{quote(job_id)}/submission", json=content)

    def build_stream(self, job_id: str, *, after: str, seconds: float) -> HTTPRequest:
        """Open the stream of a job's notifications after the given stream id ("0": from the first).

        Between what was announced before and what comes, it tells the job as it is. The receiver closes it after
        ``seconds``, or a day.
        """
        limit = f"&seconds={min(seconds, LONGEST_STREAM_SECONDS):.3f}"
        return self._request(
            "GET",
            f"/v1/stream?job={quote(job_id)}&snapshot=true{limit}",
            headers={"last-event-id": after, "accept": "text/event-stream"},
        )

    def build_job(self, job_id: str) -> HTTPRequest:
        """Ask for a job as the receiver knows it."""
        return self._request("GET", f"/v1/jobs/{quote(job_id, safe='')}")

    def parse_job(self, response: HTTPResponse) -> JobResult:
        """The job as a plain value."""
        self.raise_for_problem(response)
        return read_job_result(response.body)

    def build_jobs(self, **filters: str | int | datetime | None) -> HTTPRequest:
        """Ask for a page of jobs, newest first; ``before`` is the ``next`` of the page before.

        Raises ``InvalidRequest`` for a time without a zone.
        """
        query = urlencode({name: _plain(name, value) for name, value in filters.items() if value is not None})
        return self._request("GET", f"/v1/jobs?{query}")

    def parse_jobs(self, response: HTTPResponse) -> JobPage:
        """The page."""
        self.raise_for_problem(response)
        return read_job_page(response.body)

    def build_video(self, job_id: str) -> HTTPRequest:
        """Ask for the stored video."""
        headers = {"accept-encoding": "identity"}
        return self._request("GET", f"/v1/jobs/{quote(job_id)}/video", headers=headers)

    def raise_unless_video(self, response: HTTPResponse) -> None:
        """Raise the typed error that an answer without the video means."""
        kind = {409: VideoNotStored, 410: VideoGone}.get(response.status)
        problem = _problem(response) if kind is not None else {}
        if kind is not None and "video_status" in problem:
            words = str(problem.get("detail") or f"HTTP {response.status}")
            raise kind(words, status=response.status, problem=problem)
        self.raise_for_problem(response)
        if response.status != 200:
            raise ReceiverError(f"the receiver answered {response.status} instead of the video", status=response.status)

    def raise_for_problem(self, response: HTTPResponse) -> None:
        """Raise the typed error that an answer other than success means."""
        if 200 <= response.status < 300:
            return
        problem = _problem(response)
        detail = problem.get("detail") or problem.get("title") or f"HTTP {response.status}"
        words = f"the receiver answered {response.status}: {detail}"
        if not problem:
            words += " and nothing of what a receiver says: is its address right?"
        if response.status == 404 and problem:  # else it is not a receiver that says so
            raise JobNotFound(words, status=404, problem=problem)
        if response.status == 409:
            raise JobConflict(words, status=409, problem=problem)
        if response.status == 422 and isinstance(problem.get("field"), str):
            raise InvalidRequest(problem["field"], problem.get("value"), str(problem.get("allowed") or detail))
        if response.status == 429 or response.status >= 500:
            raise ReceiverUnavailable(words, status=response.status, problem=problem)
        raise ReceiverError(words, status=response.status, problem=problem)

    def _answer(self, response: HTTPResponse) -> dict[str, Any]:
        self.raise_for_problem(response)
        return as_object(response.json())

    def _request(
        self, method: str, path: str, *, json: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> HTTPRequest:
        return HTTPRequest(
            method=method,
            url=f"{self.url.rstrip('/')}{path}",
            headers={"authorization": f"Bearer {self.api_key}", **trace_headers(), **(headers or {})},
            json=json,
        )


def _plain(name: str, value: str | int | datetime) -> str | int:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidRequest(name, value.isoformat(), "a time with its zone, such as datetime.now(UTC)")
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else value


def _problem(response: HTTPResponse) -> dict[str, Any]:
    try:
        return as_object(read_json(response.body))
    except UnreadableMessage:
        return {}


def request_as_json(request: ExtendRequest) -> dict[str, Any]:
    """The request as the receiver keeps it: our words, without what was not asked for."""
    names = ("prompt", "duration", "quality", "style", "seed", "negative_prompt", "audio", "motion_mode", "model")
    content = {name: getattr(request, name) for name in (*names, "watermark", "options")}
    return {name: value for name, value in content.items() if value is not None and value != {}}
