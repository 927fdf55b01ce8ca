"""What is wrong with the link that a callback tells; the one that a status call tells is good."""

import httpx
import pytest

from tests.sandbox.support import a_world, links_in, received_of
from tests.sandbox.test_callback_faults import CALLING_BACK, asked


async def both_links(world, provider, fault):
    """The link in the callback, and the one in the answer to a status call."""
    await getattr(world, provider)(prompt=f"[[fault:{fault}]]")
    job = await world.the_job(callbacks=4 if provider == "useapi" else 1)
    (told,) = await world.told_links()
    (fresh,) = links_in(await asked(world, provider, job["id"]))
    return told, fresh


@pytest.mark.parametrize("provider", CALLING_BACK)
async def test_an_expired_link_is_forbidden_and_a_fresh_one_is_told_when_asked(tmp_path, provider):
    async with a_world(tmp_path) as world:
        told, fresh = await both_links(world, provider, "expired_link")
        assert (await world.client.get(told)).status_code == 403
        assert (await world.client.get(fresh)).content[4:8] == b"ftyp"
        assert told.partition("?")[0] == fresh


async def test_a_truncated_file_says_that_it_is_whole(tmp_path):
    async with a_world(tmp_path) as world:
        told, fresh = await both_links(world, "aihubmax", "truncated")
        part, whole = await world.client.get(told), await world.client.get(fresh)
        assert part.status_code == 200
        assert part.content == whole.content[: len(whole.content) // 2]


async def test_a_download_that_is_cut_off_can_be_resumed(tmp_path):
    async with a_world(tmp_path) as world:
        told, fresh = await both_links(world, "aihubmax", "cut_off")
        whole = (await world.client.get(fresh)).content
        async with world.client.stream("GET", told) as answer:
            received, is_whole = await received_of(answer)
        assert (answer.headers["content-length"], is_whole) == (str(len(whole)), False)
        rest = await world.client.get(told, headers={"range": f"bytes={len(received)}-"})
        assert rest.status_code == 206
        assert received + rest.content == whole


async def test_a_slow_file_trickles_and_stops_when_nobody_listens(tmp_path):
    async with a_world(tmp_path) as world:
        told, _ = await both_links(world, "aihubmax", "slow")
        with pytest.raises(httpx.ReadTimeout):
            await world.client.get(told, timeout=0.15)
    # The sandbox has closed at once, though the rest would have taken minutes.


async def test_a_page_comes_with_status_200_in_place_of_the_video(tmp_path):
    async with a_world(tmp_path) as world:
        told, _ = await both_links(world, "aihubmax", "html")
        answer = await world.client.get(told)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")


@pytest.mark.parametrize("provider", CALLING_BACK)
async def test_a_foreign_host_is_told_by_callback_and_status_call_alike_and_has_the_file(tmp_path, provider):
    async with a_world(tmp_path) as world:
        told, fresh = await both_links(world, provider, "foreign_host")
        assert told == fresh
        assert httpx.URL(told).host == "localhost"
        assert (await world.client.get(told)).content[4:8] == b"ftyp"


async def test_a_download_may_be_cut_at_any_byte_and_still_comes_whole_in_the_end(tmp_path):
    async with a_world(tmp_path) as world:
        told, fresh = await both_links(world, "aihubmax", "cut_anywhere")
        whole = (await world.client.get(fresh)).content
        received = b""
        for _ in range(200):
            async with world.client.stream("GET", told, headers={"range": f"bytes={len(received)}-"}) as answer:
                more, _ = await received_of(answer)
            received += more
            if len(received) == len(whole):
                break
        assert received == whole


async def test_a_host_that_is_deaf_to_ranges_sends_everything_again(tmp_path):
    async with a_world(tmp_path) as world:
        told, fresh = await both_links(world, "aihubmax", "no_range")
        whole = (await world.client.get(fresh)).content
        async with world.client.stream("GET", told) as answer:
            received, is_whole = await received_of(answer)
        assert not is_whole
        again = await world.client.get(told, headers={"range": f"bytes={len(received)}-"})
        assert (again.status_code, again.content) == (200, whole)
