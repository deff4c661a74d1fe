"""The connection of clients under asyncio, with a transport that a test looks at."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from mailkit.client.aio import AsyncioChannel


class EndingTransport:
    """TLS whose end the other side has begun, as Python 3.11.2 has it: it must not be closed again."""

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 25) if name in ("peername", "sockname") else None

    def is_closing(self) -> bool:
        return True

    def close(self) -> None:
        raise AssertionError("closed twice")


class ChannelTests(SynchronousTestCase):
    def test_what_ends_already_is_not_closed_again(self) -> None:
        async def work() -> str:
            channel = AsyncioChannel()
            channel.connection_made(cast(asyncio.Transport, EndingTransport()))
            asyncio.get_running_loop().call_soon(channel.connection_lost, None)
            await channel.close()
            return "closed"

        self.assertEqual(asyncio.run(work()), "closed")
