"""Ann shares a mailbox, Bob uses it: with imaplib and imapclient, over loopback."""

from __future__ import annotations

import imaplib
from typing import Any

import pytest

from mailkit.auth.portal import make_portal
from mailkit.imap.protocol import IMAPFactory
from tests.interop.support import ClientCase

try:
    import imapclient
except ImportError:  # pragma: no cover
    imapclient = None

pytestmark = pytest.mark.interop

ANN, BOB, PASSWORD = "ann@example.org", "bob@example.org", "secret"
PLANS = f'"Other Users/{ANN}/Plans"'
MESSAGE = b"Subject: plan\r\nFrom: Ann <ann@example.org>\r\n\r\nLunch?\r\n"


class SharingCase(ClientCase):
    user = ANN

    async def setUp(self) -> None:
        await super().setUp()
        for name in (ANN, BOB):
            await self.add_account(name, PASSWORD)
        self.port = self.listen(IMAPFactory(make_portal(self.store)))


class ImaplibTests(SharingCase):
    def login(self, user: str) -> imaplib.IMAP4:
        client = imaplib.IMAP4("127.0.0.1", self.port, timeout=60)
        client.login(user, PASSWORD)
        return client

    def ok(self, answer: tuple[str, Any]) -> list[Any]:
        self.assertEqual(answer[0], "OK", answer)
        return list(answer[1])

    def refused(self, answer: tuple[str, Any], code: bytes = b"[NOPERM]") -> None:
        self.assertEqual(answer[0], "NO", answer)
        self.assertIn(code, answer[1][-1])

    async def test_ann_shares_and_bob_reads(self) -> None:
        await self.in_thread(self._share)
        self.assertEqual(await self.contents("Plans"), [MESSAGE, MESSAGE])
        self.assertEqual(await self.contents(user=BOB), [MESSAGE])

    def _share(self) -> None:
        ann, bob = self.login(ANN), self.login(BOB)
        self.ok(ann.create("Plans"))
        self.ok(ann.append("Plans", "", "", MESSAGE))
        self.refused(bob.select(PLANS), b"[NONEXISTENT]")
        self.ok(ann.setacl("Plans", BOB, "lrs"))
        self.assertEqual(
            self.ok(ann.getacl("Plans")),
            [b'"Plans" ann@example.org lrswipkxtecdan bob@example.org lrs'],
        )
        # Bob finds it, reads, marks it as seen.
        self.assertIn(b"Other Users/", self.ok(bob.namespace())[0])
        self.assertEqual(len(self.ok(bob.list('"Other Users/"', "*"))), 1)
        self.assertEqual(self.ok(bob.myrights(PLANS)), [PLANS.encode() + b" lrs"])
        self.assertEqual(self.ok(bob.select(PLANS)), [b"1"])
        self.assertEqual(self.ok(bob.fetch("1", "(BODY[])"))[0][1], MESSAGE)
        self.assertIn(b"\\Seen", self.ok(bob.fetch("1", "(FLAGS)"))[0])
        self.ok(bob.copy("1", "INBOX"))
        # He may do no more.
        self.refused(bob.store("1", "+FLAGS", r"(\Flagged)"))
        self.refused(bob.store("1", "+FLAGS", r"(\Deleted)"))
        self.refused(bob.expunge())
        self.refused(bob.append(PLANS, "", "", MESSAGE))
        self.refused(bob.delete(PLANS))
        self.refused(bob.rename(PLANS, PLANS[:-1] + '2"'))
        self.refused(bob.setacl(PLANS, BOB, "+w"))
        self.refused(bob.create(PLANS[:-1] + '/Below"'))
        # Now he may, at once.
        self.ok(ann.setacl("Plans", BOB, "+wi"))
        self.ok(bob.store("1", "+FLAGS", r"(\Flagged)"))
        self.ok(bob.append(PLANS, r"(\Flagged)", "", MESSAGE))
        self.ok(ann.select("Plans"))
        self.assertIn(b"\\Flagged", self.ok(ann.fetch("1", "(FLAGS)"))[0])
        ann.logout()
        bob.logout()


class IMAPClientTests(SharingCase):
    if imapclient is None:
        skip = "imapclient is not installed"

    async def test_ann_shares_and_bob_reads(self) -> None:
        await self.in_thread(self._share)

    def _share(self) -> None:
        ann, bob = (
            imapclient.IMAPClient("127.0.0.1", self.port, ssl=False, timeout=60) for _ in "12"
        )
        ann.login(ANN, PASSWORD)
        bob.login(BOB, PASSWORD)
        name = PLANS.strip('"')
        ann.create_folder("Plans")
        ann.append("Plans", MESSAGE)
        ann.setacl("Plans", BOB, "lr")
        self.assertEqual(bob.namespace().other, (("Other Users/", "/"),))
        self.assertIn(name, [folder for _, _, folder in bob.list_folders()])
        # imaplib refuses to go on in what turns out to be read-only.
        self.assertTrue(bob.select_folder(name, readonly=True)[b"READ-ONLY"])
        self.assertEqual(bob.fetch([1], ["BODY.PEEK[]"])[1][b"BODY[]"], MESSAGE)
        with self.assertRaises(imapclient.exceptions.IMAPClientError):
            bob.add_flags([1], [imapclient.FLAGGED])
        ann.setacl("Plans", BOB, "lrwite")
        bob.select_folder(name)
        bob.move([1], "INBOX")
        self.assertEqual(ann.folder_status("Plans")[b"MESSAGES"], 0)
        self.assertEqual(bob.folder_status("INBOX")[b"MESSAGES"], 1)
        ann.logout()
        bob.logout()
