"""Dialogues that are to go the same way on every store."""

from __future__ import annotations

import re
from typing import Any

from mailkit.store.memory import MemoryStore
from tests.imap.support import USER, Client, Server, split_responses
from tests.store.sqlite.helpers import StoreTestCase


class StoreDialogue(StoreTestCase):
    """A server with an account in the memory store; :class:`SQLiteDialogue` has another.

    Test cases are written as a mixin and made from it twice.
    """

    async def make_account(self) -> Any:
        self.mail_store: Any = MemoryStore()
        await self.mail_store.add_account(USER)
        return await self.mail_store.open_account(USER)

    async def make_server(self, **settings: Any) -> Server:
        return Server(await self.make_account(), **settings)

    async def talk(self, client: Client, data: bytes, tag: bytes = b"a") -> bytes:
        """Send octets and wait for the tagged response; gives all that came."""
        answer = client.send(data)
        for _ in range(2000):
            if re.search(rb"(?m)^%b (?:OK|NO|BAD|Ready) .*\r\n" % re.escape(tag), answer):
                return answer
            await self.turn(0.001)
            client.server.clock.advance(0)
            answer += client.read()
        self.fail(f"no answer but {answer!r}")

    async def ask(self, client: Client, text: bytes) -> list[bytes]:
        """Send a command; gives the responses, the tagged one without its tag."""
        lines = split_responses(await self.talk(client, b"a " + text + b"\r\n"))
        return [*lines[:-1], lines[-1].removeprefix(b"a ")]


class SQLiteDialogue(StoreDialogue):
    """The same on the embedded store."""

    async def make_account(self) -> Any:
        self.mail_store = await self.make_store(USER)
        return await self.mail_store.open_account(name=USER)
