"""Processes that leave it to another one to make a store's changes, and do so when that is gone."""

from __future__ import annotations

import os
import socket
from typing import Any
from unittest import mock

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import StoreUnavailable
from mailkit.store.sqlite import SQLiteStore, StoreSettings
from mailkit.store.sqlite.codec import Codec
from mailkit.store.sqlite.frames import Kind
from mailkit.store.sqlite.guest import RETRY_INTERVAL, Guest
from mailkit.store.sqlite.lock import LOCK_NAME, DirectoryLock
from mailkit.store.sqlite.transfers import Expunge
from mailkit.store.sqlite.writer import Writer

from .helpers import ANN, StoreTestCase, message

RELUCTANCE = 3.0


class Reactor(Clock):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[Any] = []

    def adoptStreamConnection(  # noqa: N802
        self, descriptor: int, family: int, factory: Any
    ) -> None:
        link = factory.buildProtocol(None)
        link.makeConnection(StringTransport())
        self.links.append(link)


class Host:
    """The process of a guest."""

    directory = "/store"
    channel = None

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.codec = Codec("/store/tmp")
        self.takeovers = 0
        self.data_version = 0

    def announce(self, touched: object) -> None: ...

    def owner_changed(self) -> None: ...

    def take_over(self) -> bool:
        self.takeovers += 1
        return True


class GuestTests(SynchronousTestCase):
    def setUp(self) -> None:
        patcher = mock.patch("mailkit.store.sqlite.guest.connect", self.connect)
        patcher.start()
        self.addCleanup(patcher.stop)
        self.is_there = True
        self.host: Any = Host()
        self.reactor: Reactor = self.host.reactor
        connection = self.connect("")
        assert connection is not None
        self.guest = Guest(self.host, connection, RELUCTANCE)
        (self.link,) = self.reactor.links
        self.link.received(Kind.WELCOME, 0, None, 0)
        self.is_there = False

    def connect(self, _directory: str) -> socket.socket | None:
        if not self.is_there:
            return None
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        return ours

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.05)):
            self.reactor.advance(0.05)

    def test_the_place_of_one_that_died_is_kept_for_a_while(self) -> None:
        self.link.connectionLost()
        self.wait(RELUCTANCE - 0.1)
        self.assertEqual(self.host.takeovers, 0)
        self.wait(0.2 + RETRY_INTERVAL)
        self.assertEqual(self.host.takeovers, 1)

    def test_who_comes_back_in_time_is_turned_to(self) -> None:
        self.link.connectionLost()
        asked = self.guest.submit(Expunge(1, [1]))
        self.wait(1)
        self.is_there = True
        self.wait(1)
        _, link = self.reactor.links
        link.received(Kind.WELCOME, 0, None, 0)
        self.wait(10)
        self.assertEqual(self.host.takeovers, 0)
        # What waited goes to that one.
        link.received(Kind.ANSWER, 1, [1], 0)
        self.assertEqual(self.successResultOf(asked), [1])

    def test_one_that_said_goodbye_is_not_waited_for(self) -> None:
        self.link.received(Kind.GOODBYE, 0, None, 0)
        self.wait(0.05)
        self.assertEqual(self.host.takeovers, 1)


class StoreTests(StoreTestCase):
    def open_reluctantly(self, seconds: float) -> SQLiteStore:
        return self.open_store(settings=StoreSettings(reluctance=seconds))

    async def test_a_store_that_nobody_has_is_taken_in_the_end(self) -> None:
        await self.close_store(await self.make_store(ANN))
        store = self.open_reluctantly(0.05)
        self.assertIsInstance(store.core.writer, Writer)
        self.assertEqual(await self.deliver(store, message(1)), [1])

    async def test_the_owner_is_found(self) -> None:
        owner = await self.make_store(ANN)
        guest = self.open_reluctantly(60)
        self.assertIsInstance(guest.core.writer, Guest)
        self.assertEqual(await self.deliver(guest, message(1)), [1])
        # It goes as it should: at once the other one is in its place.
        await self.close_store(owner)
        self.assertEqual(await self.deliver(guest, message(2)), [2])
        self.assertIsInstance(guest.core.writer, Writer)

    async def test_an_owner_of_another_version_is_none(self) -> None:
        await self.make_store(ANN)
        with open(os.path.join(self.directory, LOCK_NAME), "w") as file:
            file.write("17\nanother\n")
        store = SQLiteStore(self.directory, settings=StoreSettings(reluctance=60))
        error = self.assertRaises(StoreUnavailable, store.open)
        self.assertIn("by process 17, which runs another version of mailkit", error.text)

    async def test_a_command_that_has_the_store_is_not_waited_for_longer(self) -> None:
        await self.close_store(await self.make_store(ANN))
        lock = DirectoryLock(self.directory)
        self.addCleanup(lock.release)
        store = SQLiteStore(self.directory, settings=StoreSettings(reluctance=0.05))
        with mock.patch("mailkit.store.sqlite.core._ENTER_PATIENCE", 0.1):
            self.assertRaises(StoreUnavailable, store.open)
