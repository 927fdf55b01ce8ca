"""What the tests of deploy/ share with those of crashes: the providers, and the video they make."""

from tests.faults.conftest import clip, host, providers

__all__ = ["clip", "host", "providers"]
