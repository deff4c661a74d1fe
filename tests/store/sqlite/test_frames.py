"""Frames between the processes of a store, however their octets come."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import LimitExceeded
from mailkit.model import LocalDelivery
from mailkit.store.sqlite import frames
from mailkit.store.sqlite.codec import Codec, NotUnderstood
from mailkit.store.sqlite.frames import Kind, Link
from mailkit.store.sqlite.operations import Deliver
from mailkit.store.sqlite.transaction import Content


class Heard(Link):
    def __init__(self) -> None:
        super().__init__(Codec("/store/tmp"))
        self.heard: list[tuple[Kind, int, Any]] = []

    def received(self, kind: Kind, number: int, value: object, octets: int) -> None:
        self.heard.append((kind, number, value))


def connected() -> tuple[Heard, StringTransport]:
    link, transport = Heard(), StringTransport()
    link.makeConnection(transport)
    return link, transport


class FrameTests(SynchronousTestCase):
    values = (
        None,
        (b"a piece", b"", b"another\r\n"),
        [LocalDelivery("ann@example.org", "INBOX", frozenset(["\\Seen"]), None)] * 2,
        {"octets": [b"\0\xff" * 50]},
    )

    def test_any_split_of_the_octets(self) -> None:
        sender, sent = connected()
        for number, value in enumerate(self.values):
            sender.send(Kind.CHANGE, number, value)
        octets = sent.value()
        wanted = [(Kind.CHANGE, number, value) for number, value in enumerate(self.values)]
        for split in range(len(octets) + 1):
            receiver, _ = connected()
            receiver.dataReceived(octets[:split])
            receiver.dataReceived(octets[split:])
            self.assertEqual(receiver.heard, wanted, split)
        receiver, _ = connected()
        for octet in octets:
            receiver.dataReceived(bytes([octet]))
        self.assertEqual(receiver.heard, wanted)

    def test_nothing_is_taken_behind_what_is_not_understood(self) -> None:
        sender, sent = connected()
        sender.send(Kind.CHANGE, 1, None)
        good = sent.value()
        for bad in (
            frames._HEAD.pack(Kind.CHANGE, 1, 5, 0, 0) + b"null]",
            frames._HEAD.pack(Kind.CHANGE, 1, 7, 0, 0) + b'["o",2]',
            frames._HEAD.pack(Kind.CHANGE, 1, 4, 1, 9) + b"\0\0\0\x02null" + b"x" * 9,
            frames._HEAD.pack(77, 1, 4, 0, 0) + b"null",
        ):
            receiver, transport = connected()
            receiver.dataReceived(good + bad + good)
            receiver.dataReceived(good)
            self.assertEqual(len(receiver.heard), 1)
            self.assertTrue(transport.disconnecting)

    def test_a_frame_that_is_too_long_is_not_sent(self) -> None:
        self.patch(frames, "MAX_FRAME", 100)
        sender, sent = connected()
        for value in ("x" * 101, b"x" * 101):
            self.assertRaises(LimitExceeded, sender.send, Kind.CHANGE, 1, value)
        self.assertEqual(sent.value(), b"")

    def test_octets_of_which_there_are_fewer(self) -> None:
        codec = Codec("/store/tmp")
        for text in (b'["o",2]', b'["o",-1]', b'["o","x"]'):
            self.assertRaises(NotUnderstood, codec.decode, text, [b"one"])


class DeliveryTests(SynchronousTestCase):
    """The operation that is sent most."""

    def sent(self, content: Content, *deliveries: LocalDelivery) -> tuple[bytes, Any]:
        codec = Codec("/store/tmp")
        text, blobs = codec.encode(Deliver(content, deliveries))
        found = codec.decode(text, blobs)
        self.assertEqual(type(found), Deliver)
        self.assertEqual(found._content, content)
        self.assertEqual(tuple(found._deliveries), deliveries)
        self.assertEqual(found.weight, content.size)
        return text, found

    def test_it_comes_as_it_was(self) -> None:
        memory = Content((b"Subject: x\r\n", b"", b"\r\n\xff\n"), 17, tail=b"\xff\n")
        plain = LocalDelivery("ann@example.org")
        junk = LocalDelivery("b\N{SNOWMAN}b", "Spam", special_use="\\Junk")
        text, _ = self.sent(memory, plain, junk)
        self.assertTrue(text.startswith(b'["p",'))
        self.sent(Content((), 0))
        # What has more to be told goes the longer way.
        for content, delivery in (
            (memory, plain._replace(flags=frozenset(["\\Seen"]))),
            (Content(None, 5, "/store/tmp/process-1/spool-x", b"prefix", 1, 32, b"\r\n"), plain),
        ):
            text, _ = self.sent(content, plain, delivery)
            self.assertTrue(text.startswith(b'["Deliver",'))

    def test_what_is_none(self) -> None:
        codec = Codec("/store/tmp")
        for text in (
            b'["p","Deliver",2,3,""]',
            b'["p","Deliver",-1,3,""]',
            b'["p","Deliver",1,3,"","ann"]',
            b'["p","Deliver",1]',
            b'["p","Expunge",1]',
            b'["p","Nothing",1]',
            b'["p"]',
        ):
            self.assertRaises(NotUnderstood, codec.decode, text, [b"one"])


class StraightTests(SynchronousTestCase):
    """What a frame's way is where the link has a real socket."""

    def setUp(self) -> None:
        from twisted.internet import tcp
        from twisted.internet.task import Clock

        class Reactor(Clock):
            def addReader(self, reader: object) -> None: ...
            def addWriter(self, writer: object) -> None: ...
            def removeReader(self, reader: object) -> None: ...
            def removeWriter(self, writer: object) -> None: ...

        ours, self.theirs = socket.socketpair()
        self.addCleanup(self.theirs.close)
        self.addCleanup(ours.close)
        ours.setblocking(False)
        self.theirs.setblocking(False)
        self.link = Heard()
        reactor: Any = Reactor()
        self.transport: Any = tcp.Connection(ours, self.link, reactor)
        self.transport.connected = True
        self.link.makeConnection(self.transport)

    def read(self) -> bytes:
        found = b""
        while True:
            try:
                found += self.theirs.recv(1 << 20)
            except BlockingIOError:
                return found

    def test_it_does_not_wait_for_the_reactor(self) -> None:
        self.link.send(Kind.CHANGE, 1, b"now")
        self.assertIn(b"now", self.read())

    def test_what_the_system_does_not_take_goes_later_and_in_order(self) -> None:
        big = b"x" * (8 << 20)
        self.link.send(Kind.CHANGE, 1, big)
        self.link.send(Kind.CHANGE, 2, b"behind it")
        received = b""
        while self.transport.dataBuffer or self.transport._tempDataLen:
            received += self.read()
            self.transport.doWrite()
        receiver, _ = connected()
        receiver.dataReceived(received + self.read())
        wanted = [(Kind.CHANGE, 1, big), (Kind.CHANGE, 2, b"behind it")]
        self.assertEqual(receiver.heard, wanted)
        self.link.send(Kind.CHANGE, 3, b"straight again")
        self.assertIn(b"straight again", self.read())
