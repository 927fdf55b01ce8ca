"""The sandbox as a whole: bounded, alone, and gone when it is closed."""

import ast
from pathlib import Path

import anyio
import httpx
import pytest

import replyhook_receiver.sandbox as sandbox
from replyhook_receiver.sandbox import SandboxOptions
from tests.sandbox.support import FAL, FAL_EXTEND, USEAPI, a_world, in_process


def test_it_imports_nothing_of_what_it_tests_and_httpx_in_one_file():
    allowed = "replyhook_receiver.sandbox"
    with_httpx = set()
    for path in Path(sandbox.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert all(name.startswith(allowed) or not name.startswith("replyhook") for name in names), path
            with_httpx |= {path.name} & {path.name for name in names if name.partition(".")[0] == "httpx"}
    assert with_httpx == {"outbound.py"}


def test_the_key_is_not_shown(tmp_path):
    assert "secret-key" not in repr(SandboxOptions(base_url="http://a", work_dir=tmp_path, api_key="secret-key"))


async def test_a_job_is_stopped_when_the_sandbox_closes(tmp_path):
    with anyio.fail_after(60):
        async with in_process(tmp_path, generation_seconds=3600) as world:
            assert (await world.fal()).status_code == 200
    assert list((tmp_path / "media" / "fal").iterdir()) == list((tmp_path / "scratch").iterdir()) == []


async def test_bodies_are_bounded(tmp_path):
    async with in_process(tmp_path) as world:
        response = await world.client.post(FAL_EXTEND, content=b" " * (1024 * 1024 + 1), headers=FAL)
        assert response.status_code == 413
        upload = await world.client.post(
            "/useapi/v2/pixverse/files",
            content=bytes(64 * 1024 * 1024 + 1),
            headers=USEAPI | {"content-type": "video/mp4"},
        )
        assert upload.status_code == 413
        assert list((tmp_path / "media" / "useapi").iterdir()) == []


async def test_a_result_can_be_downloaded_in_parts_and_nothing_else_can(tmp_path):
    async with a_world(tmp_path) as world:
        accepted = (await world.fal(reply=False)).json()
        await world.finished(accepted["request_id"])
        url = (await world.client.get(accepted["response_url"], headers=FAL)).json()["video"]["url"]
        whole = (await world.client.get(url)).content
        part = await world.client.get(url, headers={"range": f"bytes=100-{len(whole) - 1}"})
        assert (part.status_code, part.content) == (206, whole[100:])
        for name in ("fal/none.mp4", "fal/..%2f..%2fscratch", "..%2f..%2fetc/passwd", "fal/.hidden"):
            assert (await world.client.get(f"/media/{name}")).status_code == 404


async def test_jobs_of_both_providers_run_side_by_side(tmp_path):
    async with a_world(tmp_path) as world:
        path = await world.uploaded()
        answers: list[httpx.Response] = []

        async def submit(provider: str) -> None:
            fields = {"video_path": path} if provider == "useapi" else {}
            answers.append(await getattr(world, provider)(**fields))

        async with anyio.create_task_group() as tasks:
            for provider in ("fal", "useapi", "fal", "useapi"):
                tasks.start_soon(submit, provider)
        for answer in answers:
            job = await world.finished(answer.json().get("request_id") or answer.json()["video_id"])
            assert job["state"] == "succeeded"


@pytest.mark.parametrize("seconds", ["nan", "-1", "1e99", "x", "0.1"])
async def test_an_impossible_source_clip_is_refused(tmp_path, seconds):
    async with in_process(tmp_path) as world:
        response = await world.client.get("/_sandbox/source.mp4", params={"seconds": seconds})
        assert response.status_code == 400
