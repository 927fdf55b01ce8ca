"""What the tests of deploy/ share with those of crashes: the providers, the video they make, and a PostgreSQL."""

from tests.faults.conftest import clip, host, postgres_server, postgres_url, providers

__all__ = ["clip", "host", "postgres_server", "postgres_url", "providers"]
