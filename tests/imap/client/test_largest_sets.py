"""Sets that a server names: as many messages as the mailbox has that is open when it answers."""

from __future__ import annotations

from typing import Any

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailkit.client.errors import ProtocolError
from mailkit.client.security import TLSPolicy
from mailkit.imap.client import ClientSettings
from mailkit.imap.client.messages import MAX_BESIDE
from mailkit.imap.client.reader import RESPONSE_LIMITS
from mailkit.model import FlagOp
from tests.imap.client.test_pipelining import GREETING, Manual

MANY = MAX_BESIDE + 50


class LargestSetTests(SynchronousTestCase):
    def setUp(self) -> None:
        greeting = GREETING.replace(b"IDLE", b"CONDSTORE UIDPLUS")
        settings = ClientSettings(tls=TLSPolicy.none(), limits=RESPONSE_LIMITS._replace(ranges=30))
        self.wire = Manual(greeting, settings)
        self.session = self.wire.session
        self.opening = self.wire.start(self.session.select("A"))
        self.wire.say(b"* 5 EXISTS\r\nm1 OK x\r\n")

    def test_search_beside_select(self) -> None:
        self.wire.start(self.session.select("B"))
        found = self.wire.start(self.session.search("SEEN"))
        self.wire.start(self.session.select("C"))
        self.wire.say(b"* %d EXISTS\r\nm2 OK x\r\n" % MANY)
        self.wire.say(b'* ESEARCH (TAG "m3") UID ALL 1:%d\r\nm3 OK x\r\n' % MANY)
        self.assertEqual([len(each) for each in found], [MANY])

    def test_a_mailbox_that_grows(self) -> None:
        copied = self.wire.start(self.session.copy("1:*", "X"))
        stored = self.wire.start(self.session.store("1:*", FlagOp.ADD, ["x"], unchanged_since=5))
        sets = (MANY, MANY)
        self.wire.say(
            b"* %d EXISTS\r\nm2 OK [COPYUID 1 1:%d 1:%d] x\r\n" % (MANY, *sets)
            + b"m3 OK [MODIFIED 1:%d] x\r\n" % MANY
        )
        self.assertEqual(len(copied[0].source_uids), MANY)
        self.assertEqual(len(stored[0].modified), MANY)

    def test_a_mailbox_that_does_not(self) -> None:
        results: list[Any] = self.wire.start(self.session.search("SEEN"))
        self.wire.say(b'* ESEARCH (TAG "m2") UID ALL 1:%d\r\nm2 OK x\r\n' % (MANY + 1))
        self.assertIsInstance(results[0], Failure)
        results[0].trap(ProtocolError)

    def test_ranges(self) -> None:
        """By the limits of the settings."""
        sets = b",".join(b"%d" % each for each in range(1, 65, 2))
        copied = self.wire.start(self.session.copy("1:*", "X"))
        self.wire.say(b"m2 OK [COPYUID 1 %b %b] x\r\n" % (sets, sets))
        copied[0].trap(ProtocolError)
        self.assertIn("too many ranges", str(copied[0].value))
