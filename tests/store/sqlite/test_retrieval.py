"""POP3's RETR commands behind each other, on a store whose other sessions go on."""

from __future__ import annotations

import os
from typing import Any
from unittest import mock

from mailkit.connection import CHUNK
from mailkit.pop3.protocol import POP3Factory
from mailkit.pop3.retrieval import RUN_OCTETS
from mailkit.store.sqlite import SQLiteStore
from mailkit.store.sqlite.bodies import BodyFiles, Cold
from tests.pop3.fakes import Client

from .helpers import ANN, StoreTestCase, appended, message

GONE = b"-ERR No such message\r\n"


def retrievals(*numbers: int) -> bytes:
    return b"".join(b"RETR %d\r\n" % number for number in numbers)


def reply(data: bytes) -> bytes:
    return b"+OK %d octets\r\n%b.\r\n" % (len(data), data)


class RetrievalTests(StoreTestCase):
    async def login(self, store: SQLiteStore) -> Client:
        from twisted.internet import reactor

        client = Client(POP3Factory(None, clock=reactor), "127.0.0.1")  # type: ignore[arg-type]
        self.addCleanup(client.lose)
        await client.connection.open_maildrop(await store.open_account(name=ANN))
        client.read()
        return client

    async def filled(self, *contents: bytes) -> tuple[SQLiteStore, Any, Client]:
        store = await self.make_store(ANN)
        mailbox = await self.mailbox(store)
        await mailbox.append(messages=appended(*contents))
        return store, mailbox, await self.login(store)

    async def answer(self, client: Client, commands: bytes) -> bytes:
        """What the server sends until it has answered them all."""
        client.send(commands + b"NOOP\r\n")
        await self.wait_until(lambda: client.transport.value().endswith(b"\r\n+OK\r\n"))
        return client.read().removesuffix(b"+OK\r\n")

    async def test_messages_of_all_sizes(self) -> None:
        sizes = (0, CHUNK - 1, CHUNK, 500, CHUNK + 1, 300_000, 1_200_000, 200, RUN_OCTETS, 0)
        contents = [message(number, size) for number, size in enumerate(sizes)]
        _, _, client = await self.filled(*contents)
        answered = await self.answer(client, retrievals(*range(1, 11)))
        self.assertEqual(answered, b"".join(map(reply, contents)))

    async def test_messages_that_another_session_expunges(self) -> None:
        contents = [message(number) for number in range(12)]
        _, mailbox, client = await self.filled(*contents)
        await self.answer(client, retrievals(1, 2, 3))
        await mailbox.expunge(uids=[1, 2, 5, 12])
        answered = await self.answer(client, retrievals(*range(1, 13)))
        expected = [
            GONE if number in (0, 1, 4, 11) else reply(data) for number, data in enumerate(contents)
        ]
        self.assertEqual(answered, b"".join(expected))

    async def test_messages_that_this_session_marks(self) -> None:
        contents = [message(number) for number in range(3)]
        _, mailbox, client = await self.filled(*contents)
        answered = await self.answer(
            client, retrievals(1, 2) + b"DELE 2\r\n" + retrievals(1, 2, 3) + b"DELE 1\r\n"
        )
        one, two, three = map(reply, contents)
        marked = b"+OK Message 2 deleted\r\n", b"+OK Message 1 deleted\r\n"
        refused = b"-ERR Message 2 is deleted\r\n"
        self.assertEqual(answered, b"".join((one, two, marked[0], one, refused, three, marked[1])))
        client.send(retrievals(3, 3) + b"QUIT\r\n")
        await self.wait_until(lambda: b"Goodbye (1 message left)" in client.transport.value())
        self.assertEqual(list(await mailbox.list_uids()), [3])

    async def test_messages_that_are_moved_to_another_file(self) -> None:
        contents = [message(number) for number in range(20)]
        store, mailbox, client = await self.filled(*contents)
        await self.answer(client, retrievals(1, 2))
        await mailbox.expunge(uids=list(range(1, 19)))
        await store.compact()
        answered = await self.answer(client, retrievals(18, 19, 20))
        self.assertEqual(answered, GONE + reply(contents[18]) + reply(contents[19]))

    async def test_a_damaged_message_among_them(self) -> None:
        contents = [message(number) for number in range(1, 6)]
        _, _, client = await self.filled(*contents)
        path = os.path.join(self.directory, "log", self.log_files()[0])
        with open(path, "r+b") as file:
            file.seek(file.read().index(b"line of message 3"))
            file.write(b"L")
        answered = await self.answer(client, retrievals(*range(1, 6)))
        expected = list(map(reply, contents))
        expected[2] = b"-ERR [SYS/PERM] A message does not match its checksum\r\n"
        self.assertEqual(answered, b"".join(expected))

    async def test_messages_that_are_on_the_disk_only(self) -> None:
        contents = [message(number) for number in range(40)]
        _, _, client = await self.filled(*contents)
        read = BodyFiles.read_together

        def cold(files: BodyFiles, places: Any, *, nowait: bool = False) -> list[bytes]:
            if nowait:
                raise Cold
            return read(files, places)

        with mock.patch.object(BodyFiles, "read_together", cold):
            client.send(retrievals(*range(1, 21)))
            # While a thread reads them, more comes, in pieces.
            for octet in retrievals(*range(21, 41)):
                client.send(bytes((octet,)))
            answered = await self.answer(client, b"")
        self.assertEqual(answered, b"".join(map(reply, contents)))
