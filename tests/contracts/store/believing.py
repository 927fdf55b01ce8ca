"""Whose callbacks are believed: learned senders, and signatures that were used before."""

from collections import Counter
from typing import Any

import pytest

from replyhook.jobs import JobStatus
from replyhook_receiver.lifecycle import Verdict
from replyhook_receiver.stores.base import Store
from tests.contracts.store.material import (
    NOW,
    POISON,
    UNKNOWN,
    a_job,
    accepted_as,
    all_of,
    known_as,
    registration,
    report,
    running,
    strange,
    submitted,
    succeeded,
    the_job,
    told,
    verdicts,
)


class Believing:
    """A part of ``StoreContract``."""

    async def test_a_sender_is_learned_from_the_first_callback_that_answers_our_own_submit(self, store: Store) -> None:
        job = a_job()
        await submitted(store, job)
        assert (await store.accept(report(job, running(5), sender="user-1"))).learned_sender
        assert not (await store.accept(report(job, succeeded(), sender="user-2"))).learned_sender
        assert await store.senders() == {("fal", "default"): ("user-1",)}

    @pytest.mark.parametrize(
        "case", ["unregistered", "no submission", "unknown outcome", "another id", "no id", "unread"]
    )
    async def test_no_sender_is_learned_from_anything_less(self, store: Store, case: str) -> None:
        job = a_job()
        if case != "unregistered":
            await store.register(registration(job), now=NOW)
        if case == "unknown outcome":
            await store.record_submission(job, UNKNOWN, now=NOW)
        elif case not in ("unregistered", "no submission"):
            await store.record_submission(job, accepted_as("r-1"), now=NOW)
        named = {"another id": "r-2", "no id": None}.get(case, "r-1")
        for progress in (5, 6):  # the second finds the job bound to what the first one named
            event = None if case == "unread" else running(progress, named)
            assert not (await store.accept(report(job, event, sender="user-1"))).learned_sender
        assert await store.senders() == {}

    async def test_a_nonce_that_was_used_changes_nothing_and_is_not_kept_again(self, store: Store) -> None:
        job = a_job()
        await known_as(store, job)
        results = await all_of(store.accept(told(running(5), nonce="n-1")) for _ in range(20))
        assert Counter(result.verdict for result in results) == {Verdict.APPLIED: 1, Verdict.DUPLICATE: 19}
        assert (await store.accept(told(succeeded(), nonce="n-1"))).verdict is Verdict.DUPLICATE
        assert (await the_job(store, job)).status is JobStatus.RUNNING
        assert len(await store.history.callbacks()) == 1

    async def test_the_same_fact_under_another_nonce_is_kept_as_a_duplicate(self, store: Store) -> None:
        job = a_job()
        await known_as(store, job)
        await store.accept(told(running(5), nonce="n-1"))
        assert (await store.accept(told(running(5), nonce="n-2"))).verdict is Verdict.DUPLICATE
        assert await verdicts(store, job) == {Verdict.APPLIED: 1, Verdict.DUPLICATE: 1}

    async def test_every_account_has_its_own_nonces(self, store: Store) -> None:
        owners: list[dict[str, Any]] = [{}, {"account": "second"}, {"provider": "fal"}]
        for number, whose in enumerate(owners):
            await known_as(store, a_job(number), **whose)
            assert (await store.accept(told(running(5), nonce="n-1", **whose))).verdict is Verdict.APPLIED

    async def test_a_report_that_could_not_be_kept_uses_up_no_nonce(self, store: Store) -> None:
        await known_as(store, a_job(), reference=POISON)
        with pytest.raises(RuntimeError):
            await store.accept(told(succeeded(), nonce="n-1"))
        assert (await store.accept(told(strange(), nonce="n-1"))).verdict is Verdict.UNRECOGNISED
