"""Responses of our own server, damaged at random: the client ends with a result or with its own error."""

from __future__ import annotations

import random
import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailkit.client.errors import ClientError
from mailkit.imap.client import synchronise
from mailkit.imap.client.sync import Known
from mailkit.model import FlagOp
from tests.imap.client.support import SETTINGS, Client
from tests.imap.support import Server

MESSAGE = (
    b"From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: =?utf-8?q?=C3=BCber?=\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\ntwo\r\n--b--\r\n"
)
#: What is put into a response.
TOKENS = (
    b"(", b")", b'"', b" ", b"\r\n", b"{3}\r\n", b"~{1}\r\n", b"{99999999999}\r\n", b"NIL", b"\\", b"\0",
    b"[", b"]", b"4294967296", b"18446744073709551616", b"-1", b"0", b"1:4294967295", b"*", b"\xff",
    b"* ", b"+ \r\n", b"* BYE x\r\n", b"* 0 EXISTS\r\n", b"* 4294967295 EXISTS\r\n", b"* VANISHED 1:9\r\n",
    b"* 1 EXPUNGE\r\n", b"m3 OK \r\n", b"* OK [CLOSED] x\r\n", b"* OK [UIDVALIDITY 0] x\r\n",
    b"* ENABLED QRESYNC\r\n", b"* 1 FETCH ()\r\n", b"* ESEARCH\r\n", b"* 1 FETCH (BODY[] {0}\r\n)\r\n",
)  # fmt: skip


class Damaging(Client):
    """A client of a server whose responses do not all arrive as they were sent."""

    def __init__(self, server: Server, dice: random.Random) -> None:
        super().__init__(server, SETTINGS)
        self.dice = dice

    def _serve(self, data: bytes) -> bytes:
        octets = super()._serve(data)
        if not octets or self.dice.random() < 0.8:
            return octets
        for _ in range(self.dice.randint(1, 3)):
            octets = self._damage(octets)
        return octets

    def _damage(self, octets: bytes) -> bytes:
        dice = self.dice
        start = dice.randrange(len(octets) + 1)
        stop = min(len(octets), start + dice.randint(1, 30))
        choice = dice.randrange(7)
        if choice == 0:
            return octets[:start] + bytes([dice.randrange(256)]) + octets[start + 1 :]
        if choice == 1:
            return octets[:start] + octets[stop:]
        if choice == 2:
            return octets[:stop] + octets[start:stop] * dice.randint(1, 5) + octets[stop:]
        if choice == 3:
            numbers = list(re.finditer(rb"\d+", octets))
            if numbers:
                found = dice.choice(numbers)
                other = dice.choice([b"0", b"", b"1", b"2147483648", b"9" * 30])
                return octets[: found.start()] + other + octets[found.end() :]
        if choice == 4:
            lines = octets.split(b"\r\n")
            dice.shuffle(lines)
            return b"\r\n".join(lines)
        if choice == 5:
            words = octets.split(b" ")
            words.insert(dice.randrange(len(words)), dice.choice(words))
            return b" ".join(words)
        return octets[:start] + dice.choice(TOKENS) + octets[start:]


class DamagedResponseTests(SynchronousTestCase):
    async def work(self, session: Any) -> None:
        await session.open()
        await session.refresh_capabilities()
        await session.namespaces()
        await session.identify({"name": "x"})
        await session.list()
        await session.status("INBOX")
        await session.enable("QRESYNC")
        known = Known(1_000_000_000, 1, {1: frozenset(), 2: frozenset()})
        await synchronise(session, "INBOX", known)
        async for _ in session.fetch("1:*", ["ENVELOPE", "BODYSTRUCTURE", "FLAGS"]):
            pass
        async for message in session.fetch("1:2", ["BODY.PEEK[]", "BODY.PEEK[1]<0.2>"]):
            repr(message)
        await session.search("SUBJECT x")
        await session.extended_search("ALL")
        await session.store("1:2", FlagOp.ADD, ["\\Seen"])
        await session.copy("1", "Trash")
        await session.move("2", "Trash")
        await session.append("INBOX", MESSAGE)
        await session.expunge()
        await session.noop()
        await session.logout()

    def damage(self, seed: int) -> str:
        """Gives the name of what has come out."""
        server = Server()
        server.add(MESSAGE, MESSAGE, b"Subject: x\r\n\r\ny\r\n")
        wire = Damaging(server, random.Random(seed))
        results: list[Any] = []
        Deferred.fromCoroutine(self.work(wire.session)).addBoth(results.append)
        for _ in range(20):
            for _ in range(2000):
                if not wire.move():
                    break
            else:
                self.fail("it never ends")
            if results:
                break
            # The server is silent, or the client waits for what was lost.
            wire.clock.advance(600)
        self.assertEqual(len(results), 1, "it waits for ever")
        if results[0] is None:
            return ""
        results[0].trap(ClientError)
        return str(results[0].type.__name__)

    def test_damage(self) -> None:
        outcomes = {self.damage(seed) for seed in range(100)}
        self.assertTrue(outcomes >= {"", "ProtocolError"}, outcomes)
