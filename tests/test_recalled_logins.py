"""A client that comes again and again is let in without being judged; everybody else is judged."""

from __future__ import annotations

from typing import Any, cast

from twisted.cred.credentials import UsernamePassword
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailkit.auth.located import LocatedPassword
from mailkit.auth.passwords import PasswordHasher, hash_password
from mailkit.auth.portal import MailPortal, make_portal
from mailkit.errors import StoreUnavailable
from mailkit.guard import KNOWN_FAILURES, LoginGuard
from mailkit.identity import Login
from mailkit.interfaces import (
    IMailAccount,
    IMessageDelivery,
    IRecallingDirectory,
    IRecallingPortal,
    IRecallingStore,
)
from mailkit.login_log import DELAY
from mailkit.model import ConnectionInfo
from tests.auth.fakes import FakeAccount, FakeLoginStore, ImmediateExecutor
from tests.auth.test_realm import FakeDelivery
from tests.sasl.dialogues import Answer, Dialogue, IMAPDialogue, SMTPDialogue

ANN = "ann@example.org"
CHEAP: dict[str, Any] = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}


@implementer(IRecallingDirectory, IRecallingStore)
class RecallingStore(FakeLoginStore):
    """Knows again what it has been asked for."""

    def __init__(self, **hashes: str | None) -> None:
        super().__init__(**hashes)
        self.found: dict[str, Login | None] = {}
        self.restricted = False

    async def find_login(self, login: str) -> Login | None:
        found = await super().find_login(login)
        if found is not None:
            found = found._replace(restricted=self.restricted)
        self.found[login] = found
        return found

    def recall_login(self, login: str) -> Login | None:
        if self.trouble is not None:
            raise self.trouble
        return self.found.get(login)

    def recall_account(self, name: str) -> Any:
        return FakeAccount(name)


class RecallCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = RecallingStore(ann=hash_password("secret", **CHEAP), bob=None)
        executor: Any = ImmediateExecutor()
        self.hasher = PasswordHasher(executor, clock=cast(Any, Clock()), executor=executor, **CHEAP)
        self.portal = cast(MailPortal, self.make_portal())
        self.judged = 0

        def judge(*arguments: Any) -> Any:
            self.judged += 1
            return login(*arguments)

        login = self.portal.login
        self.portal.login = judge  # type: ignore[method-assign]

    def make_portal(self) -> Any:
        return make_portal(self.store, hasher=self.hasher, deliveries=FakeDelivery)

    def dialogue(self, make: type[Dialogue] = IMAPDialogue, **settings: Any) -> Dialogue:
        settings = {"host": "192.0.2.1", "allow_plaintext_passwords": True, **settings}
        return make(self.portal, **settings)

    def log_in(
        self, dialogue: Dialogue, password: str = "secret", user: str = "ann", identity: str = ""
    ) -> Answer:
        text = "\0".join((identity, user, password))
        return dialogue.begin("PLAIN", text.encode())

    def is_judged(self, password: str = "secret", **settings: Any) -> bool:
        """Whether a login is, over a connection of its own."""
        before = self.judged
        dialogue = self.dialogue(**settings)
        answer = self.log_in(dialogue, password)
        dialogue.lose()
        self.assertEqual(answer.kind, "in" if password == "secret" else "out")
        return self.judged > before


class ConnectionTests(RecallCase):
    def test_each_protocol_lets_a_client_in_again(self) -> None:
        for make in (IMAPDialogue, SMTPDialogue):
            self.portal.guard = LoginGuard()
            judged = []
            for _ in range(3):
                before = self.judged
                dialogue = self.dialogue(make)
                self.assertEqual(self.log_in(dialogue).kind, "in")
                self.assertTrue(dialogue.logged_in)
                judged.append(self.judged - before)
            self.assertEqual(judged, [1, 0, 0], make)

    def test_imaps_own_command(self) -> None:
        for judged in (1, 1):
            dialogue = self.dialogue()
            self.assertIn(b"a OK [CAPABILITY ", dialogue.send(b'a LOGIN "ann" secret'))
            self.assertTrue(dialogue.logged_in)
            self.assertEqual(self.judged, judged)

    def test_from_another_address_it_is_judged(self) -> None:
        found = [self.is_judged(host=host) for host in ("192.0.2.1", "192.0.2.2", "192.0.2.1")]
        self.assertEqual(found, [True, True, False])

    def test_a_wrong_password_is_judged_and_so_is_the_next_one(self) -> None:
        self.is_judged()
        self.assertTrue(self.is_judged("guess"))
        # Though it need not wait, it is counted as having succeeded again.
        self.assertEqual([self.is_judged(), self.is_judged()], [True, False])

    def test_guesses_count_as_ever(self) -> None:
        self.is_judged()
        dialogues = [self.dialogue() for _ in range(KNOWN_FAILURES + 1)]
        kinds = [self.log_in(each, f"guess{n}").kind for n, each in enumerate(dialogues)]
        self.assertEqual(kinds, ["out"] * KNOWN_FAILURES + [""])

    def test_a_changed_password_is_judged(self) -> None:
        self.is_judged()
        self.store.hashes[ANN] = hash_password("other", **CHEAP)
        self.store.found.clear()
        before = self.judged
        self.assertEqual(self.log_in(self.dialogue()).kind, "out")
        self.assertEqual(self.judged, before + 1)

    def test_accounts_whose_password_is_not_taken_alone_are_judged(self) -> None:
        self.is_judged()
        self.store.found[ANN] = self.store.found["ann"] = Login(ANN, self.store.hashes[ANN], True)
        self.assertIsNone(
            self.portal.recall(UsernamePassword(b"ann", b"secret"), None, IMailAccount)
        )

    def test_whoever_acts_for_somebody_else_is_judged(self) -> None:
        self.is_judged()
        self.assertEqual(self.log_in(self.dialogue(), identity="bob").kind, "out")
        self.is_judged()
        dialogue = self.dialogue()
        dialogue.factory.master_separator = "*"
        self.assertEqual(self.log_in(dialogue, user="bob*ann").kind, "out")
        self.is_judged()
        # Nobody else is concerned.
        before = self.judged
        dialogue = self.dialogue()
        dialogue.factory.master_separator = "*"
        self.assertEqual(self.log_in(dialogue).kind, "in")
        self.assertEqual(self.judged, before)

    def test_each_is_logged(self) -> None:
        told = []
        for _ in range(2):
            dialogue = self.dialogue()
            with capturedLogs() as events:
                self.log_in(dialogue)
                dialogue.clock.advance(DELAY)
            told += [event for event in events if "outcome" in event]
        self.assertEqual(self.judged, 1)
        for name in ("outcome", "address", "protocol", "mechanism", "account", "log_format"):
            self.assertEqual(told[0][name], told[1][name])

    def test_a_store_in_trouble_is_told_of(self) -> None:
        self.is_judged()
        self.store.trouble = StoreUnavailable()
        dialogue = self.dialogue()
        with capturedLogs() as events:
            self.assertEqual(self.log_in(dialogue).kind, "out")
        self.assertEqual([e["reason"] for e in events if "outcome" in e], ["temporary-failure"])
        self.assertEqual(self.judged, 2)

    def test_the_first_login_ends_when_a_second_one_begins(self) -> None:
        ended: list[str] = []
        self.is_judged()
        dialogue = self.dialogue()
        connection: Any = dialogue.connection
        connection._logout = lambda: ended.append("first")
        self.log_in(dialogue)
        self.assertEqual(ended, ["first"])


class PortalTests(RecallCase):
    def recall(self, password: bytes = b"secret", interface: Any = IMailAccount) -> Any:
        mind = ConnectionInfo("imap", "192.0.2.1")
        return self.portal.recall(UsernamePassword(b"ann", password), mind, interface)

    def test_what_it_gives(self) -> None:
        verifyObject(IRecallingPortal, self.portal)
        self.assertIsNone(self.recall())
        self.is_judged()
        for interface in (IMailAccount, IMessageDelivery):
            found, avatar, logout = self.recall(interface=interface)
            self.assertIs(found, interface)
            self.assertTrue(interface.providedBy(avatar))
            logout()
        for nothing in (
            self.recall(b"guess"),
            self.recall(b"s" * 5000),
            self.recall(interface=IRecallingPortal),
        ):
            self.assertIsNone(nothing)

    def test_credentials_of_another_kind(self) -> None:
        self.is_judged()
        located = LocatedPassword(b"ann", b"secret", "192.0.2.1")
        self.assertIsNone(self.portal.recall(located, None, IMailAccount))

    def test_user_names_that_are_none(self) -> None:
        for name in (b"", b"\xff", b"bob", b"nobody", b"a" * 5000):
            found = self.portal.recall(UsernamePassword(name, b"secret"), None, IMailAccount)
            self.assertIsNone(found)

    def test_users_of_another_directory(self) -> None:
        self.is_judged()
        self.portal.realm.directory = RecallingStore()  # type: ignore[attr-defined]
        self.assertIsNone(self.recall())


class ForgetfulStoreTests(RecallCase):
    """With a store that remembers nothing, all are judged."""

    def make_portal(self) -> Any:
        self.store = cast(Any, FakeLoginStore(ann=hash_password("secret", **CHEAP)))
        return super().make_portal()

    def test_all_are_judged(self) -> None:
        self.assertEqual([self.is_judged(), self.is_judged()], [True, True])
