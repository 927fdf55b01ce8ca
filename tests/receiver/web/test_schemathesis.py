"""The whole API under schemathesis: what its document says is what it does, whatever it is sent."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from replyhook_receiver.serving import free_socket, served, server_config
from replyhook_receiver.video_links import VideoLinks
from tests.receiver.support import (
    API_KEY,
    AUTH,
    NOW,
    PUBLIC_URL,
    SIGNING_KEY,
    Host,
    Receiver,
    a_receiver,
    says,
    useapi_body,
)

SEED = "20261121"
EXAMPLES = "8"
SECONDS = 600.0
# What no schema can say is judged after it: which URL may be notified, which headers may be sent, what makes a secret,
# whose provider has a key, which filters go together, an empty filter. All others take all that the schema allows.
JUDGED_FURTHER = (
    "POST /v1/jobs",
    "PUT /v1/jobs/{id}",
    "POST /v1/jobs/{id}/submission",
    "POST /v1/endpoints",
    "PATCH /v1/endpoints/{id}",
    "POST /v1/endpoints/{id}/rotate-secret",
    "POST /v1/deliveries/retry",
    "POST /v1/keys",
    "POST /v1/stream/links",
    "GET /v1/callbacks",
    "GET /v1/jobs",
)
CONFIG = f"""
[auth.openapi.key]
bearer = "{API_KEY}"

[[operations]]
include-name = {json.dumps(JUDGED_FURTHER)}
checks.positive_data_acceptance.enabled = false

# GET of it is the GET of a delivery, which is called "retry": there is none.
[[operations]]
include-path = "/v1/deliveries/retry"
checks.positive_data_acceptance.enabled = false
checks.unsupported_method.enabled = false
checks.allow_header_conformance.enabled = false
"""
_KINDS = ("jobs", "callbacks", "deliveries", "endpoints", "keys")


@asynccontextmanager
async def a_served_receiver(folder: Path, host: Host, clip: bytes) -> AsyncIterator[tuple[Receiver, str]]:
    """A receiver with something of everything in it, on loopback."""
    more: dict[str, Any] = {"metrics": True, "requests_per_minute": 0, "refusals_per_minute": 0}
    bound = free_socket()
    async with a_receiver(folder, host, **more) as receiver:
        config = server_config(receiver.app, host="127.0.0.1", port=bound.getsockname()[1])
        config.lifespan = "off"  # it has begun already
        async with served(receiver.app, bound, config=config) as url:
            await fill(receiver, host, clip)
            yield receiver, url


async def fill(receiver: Receiver, host: Host, clip: bytes) -> None:
    """Put something of everything into it."""
    hook = host.will("/hook", says(204))
    link = host.will("/one.mp4", says(200, clip))
    await receiver.client.post("/v1/endpoints", json={"url": hook}, headers=AUTH)
    await receiver.client.post("/v1/keys", headers=AUTH)
    job, path = await receiver.register("useapi", reference="order-42", notify=[{"url": hook}])
    await receiver.client.post(path, content=useapi_body(job, "COMPLETED", url=link))
    await receiver.client.post(path, content=b"no words that we know")
    await receiver.eventually(job, lambda job: job["video"]["status"] == "stored")
    other, path = await receiver.register("fal")
    await receiver.submitted(other, "r-1")


async def with_real_ids(receiver: Receiver) -> dict[str, Any]:
    """The document, with ids that lead somewhere: made-up ones lead to 404 alone."""
    document: dict[str, Any] = (await receiver.client.get("/openapi.json")).json()
    known: dict[str, list[str]] = {}
    for kind in _KINDS:
        listed = (await receiver.client.get(f"/v1/{kind}", headers=AUTH)).json()["data"]
        known[f"/v1/{kind}/"] = [each["id"] for each in listed]
        assert known[f"/v1/{kind}/"], kind
    stored = (await receiver.client.get("/v1/jobs", params={"reference": "order-42"}, headers=AUTH)).json()["data"][0]
    link = VideoLinks((SIGNING_KEY,), public_url=PUBLIC_URL, lifetime=timedelta(days=7)).url(stored["id"], NOW)
    known["/videos/"] = [link.rpartition("/")[2]]
    for path, item in document["paths"].items():
        ids = next((ids for prefix, ids in known.items() if path.startswith(prefix)), None)
        for operation in item.values():
            # The second request with a key that was used is refused, as it should be; other tests have it.
            parameters = operation.get("parameters", [])
            operation["parameters"] = [each for each in parameters if each["name"] != "idempotency-key"]
            for parameter in operation.get("parameters", []) if ids else []:
                if parameter["in"] == "path":
                    parameter["schema"] = {"enum": ids}
    return document


async def test_what_the_document_says_is_what_the_api_does(tmp_path: Path, host: Host, clip: bytes) -> None:
    async with a_served_receiver(tmp_path, host, clip) as (receiver, url):
        document = tmp_path / "openapi.json"
        document.write_text(json.dumps(await with_real_ids(receiver)))
        config = tmp_path / "schemathesis.toml"
        config.write_text(CONFIG)
        command = [
            *(
                sys.executable,
                "-m",
                "schemathesis.cli",
                "--config-file",
                str(config),
                "run",
                str(document),
                "--url",
                url,
            ),
            *("--seed", SEED, "--max-examples", EXAMPLES),
            *("--phases", "examples,coverage,fuzzing", "--exclude-path", "/v1/stream", "--request-timeout", "10"),
            *("--continue-on-failure", "--generation-deterministic", "--no-color", "--warnings", "off"),
        ]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            async with asyncio.timeout(SECONDS):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, output.decode()[-20_000:]
