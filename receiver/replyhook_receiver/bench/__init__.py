"""What `replyhook bench` runs: our own speed beside that of others, as ratios within one run."""

from replyhook_receiver.bench.download import DownloadOptions, DownloadResult, run_download
from replyhook_receiver.bench.ingest import IngestOptions, has_handwritten, run_ingest
from replyhook_receiver.bench.report import IngestResult

__all__ = [
    "DownloadOptions",
    "DownloadResult",
    "IngestOptions",
    "IngestResult",
    "has_handwritten",
    "run_download",
    "run_ingest",
]
