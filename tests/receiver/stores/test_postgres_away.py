"""What is told, and what is only logged, where PostgreSQL cannot be reached."""

import logging

import pytest

from replyhook_receiver.errors import StoreUnavailable
from tests.stage import free_port

pytest.importorskip("psycopg", reason="PostgreSQL needs its driver")


async def test_whoever_asks_hears_the_kind_of_trouble_and_the_log_its_words(caplog: pytest.LogCaptureFixture) -> None:
    from replyhook_receiver.stores.postgres.readers import Readers

    port = free_port()
    readers = Readers(f"postgresql://u:geheim@127.0.0.1:{port}/d")
    with caplog.at_level(logging.WARNING), pytest.raises(StoreUnavailable) as caught:
        await readers.read(lambda _: None)
    await readers.close()
    assert str(caught.value) == "the store cannot be read (OperationalError)"
    assert str(port) in caplog.text
    assert "geheim" not in caplog.text
