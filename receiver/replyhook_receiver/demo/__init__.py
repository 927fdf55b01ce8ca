"""The main job, end to end, on this machine: sandbox providers, a receiver, a listener, real videos."""

from replyhook_receiver.demo.report import DemoResult, JobResult
from replyhook_receiver.demo.run import DemoOptions, run_demo

__all__ = ["DemoOptions", "DemoResult", "JobResult", "run_demo"]
