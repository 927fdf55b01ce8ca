"""A writer that dies: the process says that it is not ready, and acknowledges nothing any more."""

import asyncio
from pathlib import Path

from replyhook.ids import new_id
from tests.receiver.support import Receiver, a_host, a_receiver, callback_path, until, useapi_body


async def test_after_its_writer_has_died_nothing_is_acknowledged_and_readiness_names_the_store(tmp_path: Path) -> None:
    async with a_host() as host, a_receiver(tmp_path, host) as receiver:
        await is_ready_and_takes(receiver)
        the_writer().cancel()
        await asyncio.sleep(0.01)
        assert await answers(receiver, times=20) == {503}
        ready = await receiver.client.get("/readyz")
        said = {"ok": False, "store": False, "worker": True, "downloads": "ok", "work": "going on"}
        assert (ready.status_code, ready.json()) == (503, said)
        alive = await receiver.client.get("/healthz")
        assert (alive.status_code, alive.json()) == (503, {"ok": False})  # who watches over it starts it anew
        assert receiver.rows("SELECT count(*) FROM callbacks") == [(1,)]


async def test_a_writer_that_dies_during_a_commit_acknowledges_only_what_is_kept(tmp_path: Path) -> None:
    acknowledged: set[str] = set()

    async def keep_sending(receiver: Receiver) -> int:
        """Until it is turned away."""
        while (status := await send(receiver, job := new_id("job"))) == 200:
            acknowledged.add(job)
        return status

    async with a_host() as host, a_receiver(tmp_path, host) as receiver:
        await is_ready_and_takes(receiver)
        sending = [asyncio.create_task(keep_sending(receiver)) for _ in range(50)]
        await until(lambda: len(acknowledged) >= 100)
        the_writer().cancel()
        assert set(await asyncio.gather(*sending)) == {503}
        assert acknowledged <= {job for (job,) in receiver.rows("SELECT job_id FROM callbacks")}


async def is_ready_and_takes(receiver: Receiver) -> None:
    assert (await receiver.client.get("/readyz")).status_code == 200
    assert (await receiver.client.get("/healthz")).status_code == 200
    assert await answers(receiver, times=1) == {200}


async def answers(receiver: Receiver, *, times: int) -> set[int]:
    return {await send(receiver, new_id("job")) for _ in range(times)}


async def send(receiver: Receiver, job: str) -> int:
    body = useapi_body(job, video_id=f"v-{job}")
    async with asyncio.timeout(60):
        response = await receiver.client.post(callback_path("useapi", job), content=body)
    assert (response.status_code == 503) == ("retry-after" in response.headers)
    return response.status_code


def the_writer() -> "asyncio.Task[object]":
    (writer,) = (task for task in asyncio.all_tasks() if task.get_name() == "replyhook-writer")
    return writer
