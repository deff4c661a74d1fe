"""Mail for sub-addresses, put into mailboxes by the right to post there (RFC 4314)."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailkit.delivery.local import LocalMessageDelivery
from mailkit.errors import StoreUnavailable
from mailkit.model import Resolution
from mailkit.rights import RightsOp, parse_rights
from mailkit.smtp.lmtp import LMTPFactory
from mailkit.smtp.protocol import SMTPFactory
from mailkit.smtp.submission import SubmissionFactory
from mailkit.spool import Spool
from mailkit.store.memory import MemoryStore
from mailkit.tap import mail
from mailkit.tap.twistd import TwistdService
from tests.delivery.fakes import FakeDirectory, FakeStore, make_envelope
from tests.smtp.fakes import Server

ANN, BOB, EVE = "ann@example.org", "bob@example.org", "eve@example.org"
PLANS = "ann+Plans@example.org"
#: NUL, the name, NUL, ``secret``, in base64.
LOGINS = {
    ANN: "AGFubkBleGFtcGxlLm9yZwBzZWNyZXQ=",
    BOB: "AGJvYkBleGFtcGxlLm9yZwBzZWNyZXQ=",
    EVE: "AGV2ZUBleGFtcGxlLm9yZwBzZWNyZXQ=",
}


class PostingTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.store: Any = MemoryStore()
        for name in (ANN, BOB, EVE):
            self.result(self.store.add_account(name=name))
        self.result(self.store.add_alias(alias="team@example.org", targets=[ANN, BOB]))
        for name in (ANN, BOB):
            account = self.result(self.store.open_account(name=name))
            self.result(account.create_mailbox(name="Plans"))

    def result(self, waiting: Awaitable[Any]) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(cast(Any, waiting)))

    def grant(self, identifier: str, rights: str, owner: str = ANN) -> None:
        self.result(
            self.store.set_acl(
                account=owner,
                mailbox="Plans",
                identifier=identifier,
                rights=parse_rights(rights),
                op=RightsOp.REPLACE,
            )
        )

    def delivery(self, account: str | None = None) -> LocalMessageDelivery:
        return LocalMessageDelivery(self.store, self.store, account, detail_by_acl=True)

    def send(
        self,
        *recipients: str,
        account: str | None = None,
        factory: type[SMTPFactory] = SMTPFactory,
    ) -> list[str]:
        """Send a message; the replies to its content."""
        server = Server(
            factory_class=SubmissionFactory if account else factory,
            passwords=dict.fromkeys(LOGINS, "secret"),
            tls=True,
        )
        server.realm.anonymous = cast(Any, self.delivery())
        server.realm.users = {name: cast(Any, self.delivery(name)) for name in LOGINS}
        lines = ["EHLO client.example"] if factory is SMTPFactory else ["LHLO client.example"]
        if account is not None:
            lines.append(f"AUTH PLAIN {LOGINS[account]}")
        lines.append(f"MAIL FROM:<{account or 'x@example.net'}>")
        lines += [f"RCPT TO:<{recipient}>" for recipient in recipients]
        replies = server.say(*lines, "DATA")
        self.assertTrue(replies[-1].startswith("354 "), replies)
        return server.say(f"From: {account or 'x@example.net'}", "", "Hello", ".")

    def counts(self, account: str = ANN) -> tuple[int, int]:
        """Messages in INBOX and in Plans."""
        infos = self.result(self.result(self.store.open_account(name=account)).list_mailboxes())
        found = {info.name: info.messages for info in infos}
        return found["INBOX"], found["Plans"]


class PostingTests(PostingTestCase):
    def test_from_outside(self) -> None:
        self.assertTrue(self.send(PLANS)[0].startswith("250 "))
        self.assertEqual(self.counts(), (1, 0))
        self.grant("anyone", "p")
        self.assertTrue(self.send(PLANS)[0].startswith("250 "))
        self.assertEqual(self.counts(), (1, 1))
        self.grant("anyone", "lrswitea")
        self.send(PLANS)
        self.assertEqual(self.counts(), (2, 1))

    def test_by_lmtp(self) -> None:
        self.grant("anyone", "p")
        self.assertTrue(self.send(PLANS, factory=LMTPFactory)[0].startswith("250 "))
        self.assertEqual(self.counts(), (0, 1))

    def test_by_users(self) -> None:
        self.grant(BOB, "p")
        self.send(PLANS, account=EVE)
        self.assertEqual(self.counts(), (1, 0))
        self.send(PLANS, account=BOB)
        self.assertEqual(self.counts(), (1, 1))
        # Whoever has not logged in is not Bob.
        self.send(PLANS)
        self.assertEqual(self.counts(), (2, 1))
        self.grant(BOB, "")
        self.grant("@example.org", "lp")
        self.send(PLANS, account=EVE)
        self.assertEqual(self.counts(), (2, 2))
        self.grant("-" + EVE, "p")
        self.send(PLANS, account=EVE)
        self.assertEqual(self.counts(), (3, 2))

    def test_the_owner_needs_no_right(self) -> None:
        self.send(PLANS, account=ANN)
        self.assertEqual(self.counts(), (0, 1))

    def test_what_is_no_mailbox(self) -> None:
        self.grant("anyone", "p")
        for detail in ("Nowhere", "plans", "Plans/Below", "INBOX", "Other"):
            self.send(f"ann+{detail}@example.org")
        self.assertEqual(self.counts(), (5, 0))

    def test_several_accounts(self) -> None:
        self.grant("anyone", "p", owner=BOB)
        replies = self.send("team+Plans@example.org")
        self.assertTrue(replies[0].startswith("250 "), replies)
        self.assertEqual((self.counts(ANN), self.counts(BOB)), ((1, 0), (0, 1)))

    def test_a_store_in_trouble(self) -> None:
        async def refuse(account: str, mailbox: str) -> None:
            raise StoreUnavailable

        self.patch(self.store, "get_acl", refuse)
        self.assertEqual(self.send(PLANS)[0][:4], "451 ")
        self.assertEqual(self.counts(), (0, 0))

    def test_without_lists(self) -> None:
        store, directory = FakeStore(), FakeDirectory(lists=Resolution([ANN], "lists"))
        for account, mailbox in ((None, "INBOX"), (BOB, "INBOX"), (ANN, "lists")):
            delivery = LocalMessageDelivery(store, directory, account, detail_by_acl=True)
            envelope = make_envelope("lists@example.org")
            self.result(delivery.deliver(envelope=envelope, message=Spool.from_bytes(b"\r\n")))
            self.assertEqual(store.delivered.pop()[1][0].mailbox, mailbox)


class OptionTests(SynchronousTestCase):
    def test_by_option_and_by_file(self) -> None:
        path = Path(self.mktemp())
        path.write_text('store = "memory:"\nsmtp = ["tcp:0"]\ndetail-by-acl = true\n')
        for arguments, wanted in (
            (["--store", "memory:", "--smtp", "tcp:0"], False),
            (["--store", "memory:", "--smtp", "tcp:0", "--detail-by-acl"], True),
            (["--config", str(path)], True),
        ):
            options = mail.Options()
            options.parseOptions(arguments)
            deliveries = TwistdService(options)._deliveries
            self.assertIs(deliveries._settings["detail_by_acl"], wanted)
