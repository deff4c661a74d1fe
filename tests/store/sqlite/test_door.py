"""What the owner of a store hears and tells at its socket."""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
from functools import partial
from typing import Any

from mailkit.store.sqlite.codec import fingerprint
from mailkit.store.sqlite.frames import Kind

from .helpers import ANN, BOB, StoreTestCase, message


def frame(kind: int, number: int, text: bytes) -> bytes:
    return struct.pack("!BQIII", kind, number, len(text), 0, 0) + text


class DoorTests(StoreTestCase):
    async def test_octets_that_are_no_request_end_the_connection_alone(self) -> None:
        store = await self.make_store()
        path = os.path.join(self.directory, "socket")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        hello = frame(Kind.HELLO, 0, json.dumps(["L", fingerprint()]).encode())
        for octets in (
            b"x" * 100,
            struct.pack("!BQIII", Kind.HELLO, 0, 2**32 - 1, 0, 2**32 - 1),
            frame(99, 0, b"null"),
            frame(Kind.CHANGE, 1, b"null"),
            hello + frame(Kind.CHANGE, 1, b"null"),
            hello + frame(Kind.CHANGE, 1, b'["DropSegments"]'),
            hello + frame(Kind.CHANGE, 1, b'["Expunge",1]'),
            hello + frame(Kind.CHANGE, 1, b'["ChangeDirectory",["c","os","system",["T"],["d"]]]'),
            hello + frame(Kind.CHANGE, 1, b"[" * 100_000),
            hello + frame(Kind.ANSWER, 1, b"null"),
        ):
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            client.connect(path)
            client.sendall(octets)

            def ended(client: socket.socket = client) -> bool:
                try:
                    return not client.recv(100)
                except BlockingIOError:
                    return False
                except ConnectionResetError:
                    return True

            await self.wait_until(ended)
            client.close()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(await self.deliver(store, message(1)), [1])

    async def test_who_has_not_greeted_is_told_nothing(self) -> None:
        store = await self.make_store(ANN)
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(os.path.join(self.directory, "socket"))
        # Whoever came behind it has been let in.
        guest = self.open_store()
        await guest.add_account(name=BOB)
        self.assertEqual(await self.deliver(store, message(1)), [1])
        client.sendall(frame(Kind.HELLO, 0, json.dumps(["L", fingerprint()]).encode()))
        client.setblocking(False)
        received = b""

        def answered() -> bool:
            nonlocal received
            try:
                received += client.recv(100)
            except BlockingIOError:
                pass
            return received != b""

        await self.wait_until(answered)
        self.assertEqual(received[0], Kind.WELCOME)

    async def test_a_guest_that_does_not_read_is_told_later(self) -> None:
        owner = await self.make_store()
        guest = self.open_store()
        # When it has an answer, the owner knows it.
        await guest.add_account(name=BOB)
        told: list[str] = []
        (await self.mailbox(guest)).watch(partial(told.append, "mailbox"))
        core: Any = owner.core
        (visitor,) = core._owner._door._visitors
        # As the reactor does when what was written is not taken.
        visitor.pauseProducing()
        await self.deliver(owner, message(1))
        # Answers come all the same, and behind them would be what the guest is told.
        await guest.add_account(name="eve@example.org")
        await guest.add_account(name="joe@example.org")
        self.assertEqual(told, [])
        visitor.resumeProducing()
        await self.wait_until(lambda: bool(told))
