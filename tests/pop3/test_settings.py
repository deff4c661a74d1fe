"""What accounts' settings make of their maildrops, with the store in memory."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth.portal import make_portal
from mailkit.model import POP3_DELETED, AppendMessage, FlagOp, MaildropSettings
from mailkit.pop3.protocol import POP3Factory
from mailkit.spool import Spool
from mailkit.store.memory import MemoryStore
from tests.pop3.fakes import Client

ANN = "ann@example.org"
DAY = 86400


class SettingsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.store = MemoryStore(cast(Any, self.clock))
        for name in (ANN, "bob@example.org"):
            self.wait(self.store.add_account(name=name, password_hash="{PLAIN}secret"))
        self.account: Any = self.wait(self.store.open_account(name=ANN))
        self.factory = self.make_factory()

    def make_factory(self, **settings: Any) -> POP3Factory:
        return POP3Factory(
            make_portal(self.store),
            clock=cast(Any, self.clock),
            directory=lambda: self.store,
            **settings,
        )

    def wait(self, awaitable: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(awaitable))

    def put(self, *messages: bytes, mailbox: str = "INBOX") -> Any:
        opened = self.wait(self.account.open_mailbox(name=mailbox))
        new = [AppendMessage(Spool.from_bytes(octets)) for octets in messages]
        self.wait(opened.append(messages=new))
        return opened

    def set(self, **values: Any) -> None:
        settings = MaildropSettings()._replace(**values)
        self.wait(self.store.set_maildrop_settings(account=ANN, settings=settings))

    def connect(self) -> Client:
        client = Client(self.factory, "127.0.0.1")
        client.read()
        return client

    def login(self, user: str = ANN) -> Client:
        client = self.connect()
        client.ask(b"USER " + user.encode())
        answer = client.ask(b"PASS secret")
        self.assertTrue(answer.startswith(b"+OK"), answer)
        return client

    def texts(self) -> list[bytes]:
        """All messages of a session."""
        client = self.login()
        count = int(client.ask(b"STAT").split()[1])
        found = [client.ask(b"RETR %d" % number) for number in range(1, count + 1)]
        client.ask(b"QUIT")
        return [answer.split(b"\r\n", 1)[1].removesuffix(b"\r\n.\r\n") for answer in found]

    def capability(self, client: Client, name: bytes) -> bytes:
        lines = client.ask(b"CAPA").split(b"\r\n")
        return next((line for line in lines if line.startswith(name)), b"")


class KeepTests(SettingsCase):
    def test_deleted_messages_stay_and_are_hidden(self) -> None:
        mailbox = self.put(b"one", b"two")
        self.set(keep=True)
        client = self.login()
        client.ask(b"DELE 1")
        self.assertIn(b"1 message left", client.ask(b"QUIT"))
        self.assertEqual(self.texts(), [b"two"])
        uids = self.wait(mailbox.list_uids())
        flags = [info.flags for info in self.wait(mailbox.get_messages(uids=uids))]
        self.assertEqual(flags, [{POP3_DELETED}, frozenset()])
        # IMAP may have them shown again.
        self.wait(mailbox.store_flags(uids=uids, op=FlagOp.REMOVE, flags={POP3_DELETED}))
        self.assertEqual(self.texts(), [b"one", b"two"])

    def test_nothing_is_hidden_before_quit(self) -> None:
        self.put(b"one")
        self.set(keep=True)
        client = self.login()
        client.ask(b"DELE 1")
        client.lose()
        self.assertEqual(self.texts(), [b"one"])

    def test_read_messages_are_hidden(self) -> None:
        mailbox = self.put(b"one", b"two")
        self.wait(mailbox.store_flags(uids=[1], op=FlagOp.ADD, flags={"\\Seen"}))
        self.assertEqual(self.texts(), [b"one", b"two"])
        self.set(hide_seen=True)
        self.assertEqual(self.texts(), [b"two"])


class ExpireTests(SettingsCase):
    def test_old_messages_are_removed(self) -> None:
        mailbox = self.put(b"old")
        self.clock.advance(2 * DAY)
        self.put(b"young")
        self.set(expire=3)
        self.assertEqual(self.texts(), [b"old", b"young"])
        self.clock.advance(DAY)
        self.assertEqual(self.texts(), [b"young"])
        self.assertEqual(len(self.wait(mailbox.list_uids())), 1)

    def test_what_is_announced(self) -> None:
        self.assertEqual(self.capability(self.connect(), b"EXPIRE"), b"EXPIRE NEVER")
        self.set(expire=3)
        # RFC 2449 section 6.7: the least that any user has.
        self.assertEqual(self.capability(self.connect(), b"EXPIRE"), b"EXPIRE 3 USER")
        self.assertEqual(self.capability(self.login(), b"EXPIRE"), b"EXPIRE 3")
        bob = self.login("bob@example.org")
        self.assertEqual(self.capability(bob, b"EXPIRE"), b"EXPIRE NEVER")


class DelayTests(SettingsCase):
    def test_an_own_delay(self) -> None:
        self.set(login_delay=60)
        self.login().ask(b"QUIT")
        client = self.connect()
        client.ask(b"USER " + ANN.encode())
        self.assertIn(b"-ERR [LOGIN-DELAY]", client.ask(b"PASS secret"))
        self.clock.advance(60)
        self.login().ask(b"QUIT")
        self.login("bob@example.org").ask(b"QUIT")
        self.login("bob@example.org")

    def test_what_is_announced(self) -> None:
        self.factory = self.make_factory(login_delay=20)
        self.assertEqual(self.capability(self.connect(), b"LOGIN"), b"LOGIN-DELAY 20 USER")
        self.set(login_delay=60)
        self.assertEqual(self.capability(self.connect(), b"LOGIN"), b"LOGIN-DELAY 60 USER")
        self.assertEqual(self.capability(self.login(), b"LOGIN"), b"LOGIN-DELAY 60")
        bob = self.login("bob@example.org")
        self.assertEqual(self.capability(bob, b"LOGIN"), b"LOGIN-DELAY 20")

    def test_an_account_without_delay(self) -> None:
        self.factory = self.make_factory(login_delay=20)
        self.set(login_delay=0)
        self.login().ask(b"QUIT")
        self.assertEqual(self.capability(self.login(), b"LOGIN"), b"")


class MailboxesTests(SettingsCase):
    def setUp(self) -> None:
        super().setUp()
        self.inbox = self.put(b"one", b"two")
        self.junk = self.put(b"spam", b"more", mailbox="Junk")

    def unique_ids(self) -> list[bytes]:
        client = self.login()
        lines = client.ask(b"UIDL").split(b"\r\n")[1:-2]
        client.ask(b"QUIT")
        return [line.split()[1] for line in lines]

    def test_one_behind_the_other(self) -> None:
        alone = self.unique_ids()
        self.set(mailboxes=("INBOX", "Junk"))
        self.assertEqual(self.texts(), [b"one", b"two", b"spam", b"more"])
        together = self.unique_ids()
        self.assertEqual(together[:2], alone)
        self.assertEqual(len(set(together)), 4)
        # Whatever the order, and whatever else is there, a message is called the same.
        self.set(mailboxes=("Junk", "Archive", "INBOX"))
        self.assertEqual(self.unique_ids(), together[2:] + together[:2])
        self.wait(self.account.rename_mailbox(name="Junk", new_name="Spam"))
        self.set(mailboxes=("Spam",))
        self.assertEqual(self.unique_ids(), together[2:])

    def test_numbers(self) -> None:
        self.set(mailboxes=("INBOX", "Archive", "Junk"))
        client = self.login()
        self.assertEqual(client.ask(b"LIST 4"), b"+OK 4 6\r\n")
        self.assertIn(b"spam", client.ask(b"TOP 3 1"))
        ids = client.ask(b"UIDL").split(b"\r\n")[1:-2]
        self.assertEqual(b"+OK " + ids[3] + b"\r\n", client.ask(b"UIDL 4"))

    def test_deleting(self) -> None:
        self.set(mailboxes=("INBOX", "Junk"))
        client = self.login()
        for number in (4, 1):
            client.ask(b"DELE %d" % number)
        self.assertIn(b"2 messages left", client.ask(b"QUIT"))
        self.assertEqual(self.texts(), [b"two", b"spam"])
        self.assertEqual(list(self.wait(self.junk.list_uids())), [1])

    def test_one_that_goes_during_the_session_keeps_no_other_from_its_update(self) -> None:
        self.set(mailboxes=("Junk", "INBOX"))
        client = self.login()
        for number in (1, 3):
            client.ask(b"DELE %d" % number)
        self.wait(self.account.delete_mailbox(name="Junk"))
        # A new one of that name has messages of its own.
        self.wait(self.account.create_mailbox(name="Junk"))
        self.put(b"other", mailbox="Junk")
        self.assertTrue(client.ask(b"QUIT").startswith(b"+OK"))
        self.assertEqual(self.texts(), [b"other", b"two"])

    def test_one_that_was_deleted_since(self) -> None:
        self.set(mailboxes=("INBOX", "Nowhere", "Junk"))
        self.assertEqual(len(self.texts()), 4)
        self.set(mailboxes=("Nowhere",))
        client = self.connect()
        client.ask(b"USER " + ANN.encode())
        self.assertIn(b"-ERR [SYS/PERM]", client.ask(b"PASS secret"))
