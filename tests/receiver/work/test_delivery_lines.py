"""What the log says of deliveries: each line names the delivery and the job that it is about."""

from pathlib import Path

from tests.contracts.store.material import failed
from tests.receiver.json_log import a_log
from tests.receiver.support import Host, says
from tests.receiver.work.bench import TRIES, a_bench, target

WORKER = "replyhook_receiver.work.worker"


async def test_every_line_of_a_delivery_names_its_job_however_it_ends(tmp_path: Path, host: Host) -> None:
    fine = host.will("/fine", says(503), says(204))
    bad, gone = host.will("/bad", says(500)), host.will("/gone", says(410))
    expected = {
        fine: ["is tried again", "is done"],
        bad: ["is tried again"] * (TRIES - 1) + ["is given up"],
        gone: ["is given up"],
    }
    with a_log() as log:
        async with a_bench(tmp_path, host) as bench:
            jobs = {url: await bench.job(provider_job_id=None, notify=(target(url),)) for url in expected}
            for job in jobs.values():
                await bench.hears(job, failed(provider_job_id=None))
            await bench.at_rest()
        for url, job in jobs.items():
            found = log.lines(WORKER, job_id=job, task="notify")
            assert len({line["delivery_id"] for line in found}) == 1
            for line, words in zip(found, expected[url], strict=True):
                assert line["message"].startswith(f"notify of {line['delivery_id']} {words}")
        (disabled,) = log.lines("replyhook_receiver.stores.sql.delivery_ends")
        (last,) = log.lines(WORKER, job_id=jobs[gone])
        assert (disabled["level"], disabled["job_id"]) == ("warning", jobs[gone])
        assert disabled["delivery_id"] == last["delivery_id"]
        assert all("job_id" in line for line in log.lines(WORKER, task="notify"))
