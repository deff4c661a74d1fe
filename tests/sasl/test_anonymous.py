"""ANONYMOUS: guests of one account, who read and change nothing, where the operator lets them in."""

from __future__ import annotations

import errno
import os
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailkit.auth.guests import Guest, GuestAccount, GuestHome
from mailkit.auth.portal import make_portal
from mailkit.auth.realm import MailRealm
from mailkit.coroutines import run
from mailkit.errors import AuthorizationFailed
from mailkit.homes.mail import MailHomes
from mailkit.homes.mounts import MountedHomes
from mailkit.interfaces import (
    ICopyingMailbox,
    IFileHome,
    IMailAccount,
    IMailbox,
    IMailboxAdmin,
    IMessageDelivery,
    IMetadataAccount,
    IQuotaAccount,
    ISearchableMailbox,
    IURLKeys,
    IWatchableMailbox,
    IWritableMailbox,
)
from mailkit.model import AppendMessage
from mailkit.sasl.anonymous import MAX_TRACE, AnonymousServer
from mailkit.spool import Spool
from mailkit.store.memory import MemoryStore
from mailkit.tap import imap
from mailkit.tap.errors import SettingError
from mailkit.tap.guests import parse_guests
from mailkit.wire.sasl import SASLContext, SASLError, Success
from tests.ftp.support import CLIENT, USER, Client, FTPCase

from .dialogues import DIALOGUES, Answer, IMAPDialogue

GUEST = "guest@example.org"
MESSAGE = b"From: a@example.org\r\nSubject: public\r\n\r\nText\r\n"


class MechanismTests(SynchronousTestCase):
    def trace(self, response: bytes) -> str:
        step = AnonymousServer(SASLContext()).step(response)
        assert isinstance(step, Success)
        trace: str = step.credentials.trace
        return trace

    def test_traces(self) -> None:
        # RFC 4505 section 4
        self.assertEqual(self.trace(b"sirhc"), "sirhc")
        self.assertEqual(self.trace(b""), "")
        self.assertEqual(self.trace("jürgen@example.org".encode()), "jürgen@example.org")
        # Nothing that a log could be confused by.
        self.assertEqual(self.trace("a\r\nb\0\u202e".encode()), "a??b??")
        self.assertEqual(self.trace("ü".encode() * MAX_TRACE), "ü" * MAX_TRACE)
        self.assertEqual(AnonymousServer(SASLContext()).step(None), b"")

    def test_what_is_none(self) -> None:
        for response in (b"\xff", b"x" * (MAX_TRACE + 1)):
            with self.assertRaises(SASLError):
                AnonymousServer(SASLContext()).step(response)


class GuestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = MemoryStore()
        self.wait(self.store.add_account(GUEST, "{PLAIN}secret"))
        self.account = self.wait(self.store.open_account(GUEST))
        inbox = self.wait(self.account.open_mailbox("INBOX"))
        self.wait(inbox.append([AppendMessage(Spool.from_bytes(MESSAGE))]))

    def wait(self, coroutine: Any) -> Any:
        return self.successResultOf(run(coroutine))


class ViewTests(GuestCase):
    def test_an_account(self) -> None:
        guest: Any = GuestAccount(self.account)
        self.assertTrue(verifyObject(IMailAccount, guest))
        self.assertEqual(guest.name, GUEST)
        for ability in (IMailboxAdmin, IQuotaAccount, IMetadataAccount, IURLKeys):
            self.assertFalse(ability.providedBy(guest), ability)
        for name in ("create_mailbox", "rename_mailbox", "password_hash", "_store", "set_acl"):
            self.assertFalse(hasattr(guest, name), name)

    def test_a_mailbox(self) -> None:
        mailbox = self.wait(GuestAccount(self.account).open_mailbox("INBOX"))
        for ability in (IMailbox, IWatchableMailbox):
            self.assertTrue(verifyObject(ability, mailbox))
        for ability in (IWritableMailbox, ICopyingMailbox):
            self.assertFalse(ability.providedBy(mailbox))
        for name in ("append", "expunge", "store_flags", "copy_messages", "add"):
            self.assertFalse(hasattr(mailbox, name), name)
        self.assertEqual(list(self.wait(mailbox.list_uids())), [1])
        self.assertFalse(ISearchableMailbox.providedBy(mailbox))

    def test_what_a_realm_gives(self) -> None:
        portal = make_portal(self.store, deliveries=lambda account, info: None)  # type: ignore[arg-type,return-value]
        realm: Any = portal.realm
        assert isinstance(realm, MailRealm)
        found = self.successResultOf(realm.requestAvatar(Guest(GUEST), None, IMailAccount))
        self.assertIsInstance(found[1], GuestAccount)
        # No mail is sent by guests.
        refused = realm.requestAvatar(Guest(GUEST), None, IMessageDelivery)
        self.failureResultOf(refused, AuthorizationFailed)


class IMAPTests(GuestCase):
    def dialogue(self, **settings: Any) -> IMAPDialogue:
        # No secret is sent, so there need be no TLS.
        dialogue = IMAPDialogue(
            make_portal(self.store, guest_of=GUEST), host="192.0.2.7", **settings
        )
        self.addCleanup(dialogue.lose)
        return dialogue

    def test_nobody_is_let_in_unasked(self) -> None:
        portal = make_portal(self.store, deliveries=lambda account, info: None)  # type: ignore[arg-type,return-value]
        for make in DIALOGUES:
            dialogue = make(portal)
            self.addCleanup(dialogue.lose)
            self.assertNotIn("ANONYMOUS", dialogue.offered())
            self.assertEqual(dialogue.begin("ANONYMOUS", b"x").kind, "out")

    def test_only_mechanisms_that_are_named(self) -> None:
        self.assertEqual(self.dialogue(mechanisms=["PLAIN"]).offered(), [])

    def test_reading(self) -> None:
        dialogue = self.dialogue()
        self.assertEqual(dialogue.offered(), ["ANONYMOUS"])
        self.assertEqual(dialogue.begin("ANONYMOUS"), Answer("challenge", b""))
        self.assertEqual(dialogue.respond(b"sirhc").kind, "in")
        self.assertIn(b"a OK [READ-ONLY]", dialogue.send(b"a SELECT INBOX"))
        self.assertIn(MESSAGE, dialogue.send(b"b FETCH 1 BODY[]"))
        # It is not marked as read.
        self.assertNotIn(b"Seen", dialogue.send(b"c FETCH 1 FLAGS"))
        self.assertIn(b"* SEARCH 1", dialogue.send(b"d SEARCH SUBJECT public"))

    def test_changing(self) -> None:
        dialogue = self.dialogue()
        dialogue.begin("ANONYMOUS", b"")
        before = self.wait(self.account.list_mailboxes())
        dialogue.send(b"a SELECT INBOX")
        for command in (
            b"STORE 1 FLAGS (\\Seen)",
            b"UID STORE 1 +FLAGS (\\Deleted)",
            b"EXPUNGE",
            b"COPY 1 Archive",
            b"MOVE 1 Archive",
            b"CREATE New",
            b"DELETE Archive",
            b"RENAME Archive Old",
            b"SUBSCRIBE INBOX",
            b"UNSUBSCRIBE INBOX",
            b"SETACL INBOX anyone lrswipkxtea",
            b'SETQUOTA "" (STORAGE 1)',
            b'SETMETADATA INBOX (/private/comment "x")',
            b"RESETKEY INBOX",
            b"APPEND INBOX {4}",
        ):
            said = dialogue.send(b"x " + command)
            said += (
                dialogue.send(b"text")
                if command.startswith(b"APPEND") and said[:1] == b"+"
                else b""
            )
            self.assertRegex(said, rb"(?m)^x (NO|BAD) ", command)
        self.assertEqual(self.wait(self.account.list_mailboxes()), before)
        self.assertNotIn(b"Traceback", dialogue.send(b"y NOOP"))

    def test_the_trace_is_logged(self) -> None:
        lines: list[str] = []
        observer = lambda event: lines.append(event["log_format"].format(**event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.dialogue().begin("ANONYMOUS", b"sir\r\nhc")
        self.assertIn("anonymous login: sir??hc", lines)


class FTPTests(FTPCase):
    """RFC 1635."""

    def client(self, guest_of: str = USER.decode(), host: str = CLIENT) -> Client:
        factory = self.serve(allow_plaintext_passwords=False)
        factory.portal = make_portal(self.store, homes=self.homes, guest_of=guest_of)
        client = self.connect(factory, host)
        self.addCleanup(client.lose)
        return client

    def test_reading(self) -> None:
        for name in (b"anonymous", b"ftp", b"Anonymous"):
            client = self.client()
            # Without TLS: there is no password.
            self.assertEqual(client.code(b"USER " + name), 331)
            self.assertEqual(client.code(b"PASS guest@"), 230)
            client.ask(b"TYPE I")
            self.assertEqual(client.ask(b"SIZE file"), b"213 10\r\n")
            for command in (b"DELE file", b"MKD new", b"RMD dir", b"RNFR file"):
                code = client.code(command)
                if command.startswith(b"RNFR") and code == 350:
                    code = client.code(b"RNTO other")
                self.assertEqual(code, 550, command)
        self.assertEqual(sorted(os.listdir(self.home)), ["dir", "file"])

    def test_files(self) -> None:
        home = GuestHome(self.successResultOf(run(self.homes.open_home(account=USER.decode()))))
        self.assertTrue(verifyObject(IFileHome, home))
        with self.assertRaises(OSError) as caught:
            # Nothing to wait for.
            home.open_to_write(path=("new",), offset=0).send(None)
        self.assertEqual(caught.exception.errno, errno.EACCES)

    def test_mail_is_not_for_guests(self) -> None:
        mail = MailHomes(MemoryStore(), in_thread=maybeDeferred)
        homes = MountedHomes(self.homes, {"Mail": mail})
        home = GuestHome(self.successResultOf(run(homes.open_home(account=USER.decode()))))

        async def names() -> dict[str, str]:
            listing = home.list_entries(path=())
            return {entry.name: entry.rights async for piece in listing for entry in piece}

        self.assertEqual(self.successResultOf(run(names())), {"dir": "el", "file": "r"})
        self.failureResultOf(run(home.get_entry(path=("Mail",))), FileNotFoundError)

    def test_off_by_default(self) -> None:
        self.assertEqual(self.client("").code(b"USER anonymous"), 530)
        # On this machine it is a user's name like any other.
        local = self.client("", "127.0.0.1")
        self.assertEqual(local.code(b"USER anonymous"), 331)
        self.assertIsNone(local.connection.find_mechanism("ANONYMOUS"))


class SettingTests(SynchronousTestCase):
    def test_forms(self) -> None:
        self.assertEqual(
            parse_guests([f"imap:{GUEST}", "ftp:files@example.org"]),
            {"imap": GUEST, "ftp": "files@example.org"},
        )
        for texts in ([GUEST], ["pop3:x"], ["imap:"], ["imap"], ["imap:a", "imap:b"], [""]):
            with self.assertRaises(SettingError):
                parse_guests(texts)

    def test_option(self) -> None:
        options = imap.Options()
        endpoint = "tcp:0:interface=127.0.0.1"
        options.parseOptions(
            ["--listen", endpoint, "--store", "memory:", "--anonymous", f"imap:{GUEST}"]
        )
        self.assertEqual(options.lists["anonymous"], [f"imap:{GUEST}"])
