"""What every store must do with endpoints: nothing is lost when everything happens at once, deliveries included."""

import asyncio
import random
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest

from replyhook_receiver.endpoints import (
    BY_HAND,
    MAX_SECRETS,
    NOT_IN_SETTINGS,
    EndpointChange,
    EndpointOrigin,
    NewEndpoint,
)
from replyhook_receiver.errors import EndpointConflict, UnknownEndpoint
from replyhook_receiver.lifecycle import TaskKind
from replyhook_receiver.stores.base import Store
from tests.contracts.store.material import NOW, a_job, all_of, failed, registration, report

MISSING = "ep_06gzv450ms5sr0bq1v26sekk1e"
DAY = timedelta(days=1)
LEASE = timedelta(seconds=30)


def endpoint(number: int = 0, **more: Any) -> NewEndpoint:
    return NewEndpoint(url=f"https://app.example.com/{number}", **more)


def _of(user: str) -> NewEndpoint:
    return NewEndpoint(url=f"https://{user}.example.com", user=user)


async def due(store: Store) -> list[str]:
    """The deliveries that are to be brought now."""
    tasks = await store.claim([TaskKind.NOTIFY], limit=1000, lease=LEASE, now=NOW)
    return sorted(task.subject for task in tasks)


class EndpointsContract:
    """Subclass with the fixture ``store`` (open, made with ``describe``)."""

    @pytest.fixture
    async def store(self) -> Store:
        raise NotImplementedError

    async def test_what_was_wanted_is_what_is_there(self, store: Store) -> None:
        wanted = endpoint(name="ours", user="u_7", headers={"X-A": "1"}, secrets=("whsec_one", "whsec_two"))
        made = await store.endpoints.create(wanted, now=NOW)
        assert made == await store.endpoints.get(made.id)
        assert (made.url, made.name, made.user, made.headers) == (wanted.url, "ours", "u_7", {"X-A": "1"})
        assert [secret.value for secret in made.secrets] == ["whsec_one", "whsec_two"]
        assert (made.origin, made.job_id, made.disabled_at, made.created_at) == (EndpointOrigin.API, None, None, NOW)

    async def test_one_that_is_not_there_is_unknown_to_all(self, store: Store) -> None:
        made = await store.endpoints.create(endpoint(), now=NOW)
        await store.endpoints.remove(made.id, now=NOW)
        for gone in (MISSING, made.id, "", "x" * 9999):
            for asked in (
                store.endpoints.get(gone),
                store.endpoints.change(gone, EndpointChange(name="x")),
                store.endpoints.disable(gone, BY_HAND, now=NOW),
                store.endpoints.enable(gone, now=NOW),
                store.endpoints.rotate(gone, "whsec_new", overlap=DAY, now=NOW),
                store.endpoints.remove(gone, now=NOW),
            ):
                with pytest.raises(UnknownEndpoint):
                    await asked
        assert await store.endpoints.list() == []

    async def test_rotations_at_once_lose_none_of_the_secrets(self, store: Store) -> None:
        made = await store.endpoints.create(endpoint(secrets=("whsec_first",)), now=NOW)
        fresh = [f"whsec_{number}" for number in range(MAX_SECRETS - 1)]
        await all_of(store.endpoints.rotate(made.id, secret, overlap=DAY, now=NOW) for secret in fresh)
        kept = (await store.endpoints.get(made.id)).secrets
        assert {secret.value for secret in kept} == {"whsec_first", *fresh}
        assert [secret.expires_at for secret in kept] == [None] + [NOW + DAY] * (MAX_SECRETS - 1)

    async def test_never_more_stand_than_may_however_many_come_at_once(self, store: Store) -> None:
        made = await asyncio.gather(
            *(store.endpoints.create(endpoint(number), now=NOW) for number in range(1_010)), return_exceptions=True
        )
        refused = [each for each in made if isinstance(each, BaseException)]
        assert ([type(each) for each in refused], len(made)) == ([EndpointConflict] * 10, 1_010)

    async def test_whatever_happens_at_once_nothing_is_brought_while_disabled_and_nothing_is_lost_when_enabled(
        self, store: Store
    ) -> None:
        for seed in range(5):
            users = [f"u_{seed}_{number}" for number in range(10)]
            jobs = {user: a_job() for user in users}
            made = {user: (await store.endpoints.create(_of(user), now=NOW)).id for user in users}
            for user, job in jobs.items():
                await store.register(registration(job, user=user, notify=()), now=NOW)
            work: list[Awaitable[Any]] = [
                store.accept(report(job, failed(provider_job_id=None))) for job in jobs.values()
            ]
            work += [store.endpoints.disable(each, BY_HAND, now=NOW) for each in made.values() for _ in range(3)]
            work += [store.endpoints.enable(each, now=NOW) for each in made.values() for _ in range(3)]
            random.Random(seed).shuffle(work)
            await all_of(work)
            await all_of(store.endpoints.disable(each, BY_HAND, now=NOW) for each in made.values())
            before = await due(store)
            last = a_job()
            await store.register(registration(last, user=users[0], notify=()), now=NOW)
            await store.accept(report(last, failed(provider_job_id=None)))
            assert await due(store) == []
            await all_of(store.endpoints.enable(each, now=NOW) for each in made.values())
            after = await due(store)
            assert len(before) + len(after) == len(jobs) + 1
            assert not set(before) & set(after)
            await all_of(store.endpoints.remove(each, now=NOW) for each in made.values())

    async def test_the_settings_brought_in_twice_at_once_are_there_once(self, store: Store) -> None:
        wanted = [endpoint(number, name=f"n{number}") for number in range(5)]
        await all_of(store.endpoints.synchronise(wanted, now=NOW) for _ in range(10))
        first = await store.endpoints.list(origin=EndpointOrigin.SETTINGS)
        assert sorted(each.name or "" for each in first) == ["n0", "n1", "n2", "n3", "n4"]
        await store.endpoints.synchronise(wanted[1:], now=NOW)
        assert [each.disabled_why for each in await store.endpoints.list() if each.name == "n0"] == [NOT_IN_SETTINGS]
        await store.endpoints.synchronise(wanted, now=NOW)
        assert {(each.id, each.disabled_at) for each in await store.endpoints.list()} == {
            (each.id, None) for each in first
        }
