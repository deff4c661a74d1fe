"""A function that gets every message."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, cast
from unittest.mock import Mock

from twisted.cred.checkers import (
    FilePasswordDB,
    ICredentialsChecker,
    InMemoryUsernamePasswordDatabaseDontUse,
)
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.cred.error import UnhandledCredentials
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import alsoProvides, implementer
from zope.interface.verify import verifyObject

from mailkit.delivery.callback import CallableDelivery, delivery_portal
from mailkit.errors import MessageRefused, NoSuchRecipient, OverQuota, RelayDenied
from mailkit.interfaces import (
    IBearerToken,
    IDeliveryAbilities,
    IMailAccount,
    IMessageDelivery,
    IQueueStarter,
    ISenderPolicy,
)
from mailkit.model import Envelope, Outcome, Path, Recipient
from mailkit.sasl.bearer import BearerToken
from mailkit.smtp.protocol import SMTPFactory
from mailkit.smtp.submission import SubmissionFactory
from mailkit.spool import Spool
from mailkit.testing import DeliveryContract
from tests.delivery.fakes import make_envelope


@implementer(ICredentialsChecker)
class Tokens:
    """Knows one token, and whose it is."""

    credentialInterfaces = (IBearerToken,)

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        return succeed(b"ann")


class CallableTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.received: list[tuple[Envelope, bytes | None]] = []

    async def keep(self, envelope: Envelope, message: Spool) -> None:
        self.received.append((envelope, message.data))

    def delivery(self, **settings: Any) -> CallableDelivery:
        settings.setdefault("domains", ["example.org"])
        return CallableDelivery(self.keep, **settings)

    def check(self, address: str, **settings: Any) -> Deferred[None]:
        envelope = make_envelope(address)
        return Deferred.fromCoroutine(
            self.delivery(**settings).check_recipient(
                envelope=envelope, recipient=envelope.recipients[0]
            )
        )

    def test_interface(self) -> None:
        verifyObject(IMessageDelivery, self.delivery())

    def test_domains_must_be_named(self) -> None:
        for domains in ([], [""], ["*"], ["*.example.org"], "example.org"):
            self.assertRaises(ValueError, CallableDelivery, self.keep, domains)

    def test_only_these_domains_get_mail(self) -> None:
        for address in ("any.one@example.org", "x@EXAMPLE.ORG", "postmaster@"):
            self.successResultOf(self.check(address))
        for address in ("x@example.com", "x@sub.example.org", "x@example.org.example.com"):
            self.failureResultOf(self.check(address), RelayDenied)

    def test_a_domain_is_one_in_either_form(self) -> None:
        # RFC 5890 section 2.3.2.4: U-labels and A-labels.
        envelope = make_envelope()
        for domain in ("bücher.example", "xn--bcher-kva.example", "Bücher.example."):
            delivery = CallableDelivery(self.keep, [domain])
            for other in ("BÜCHER.example", "xn--bcher-kva.example"):
                (recipient,) = envelope.recipients = [Recipient(Path("x", other))]
                checking = delivery.check_recipient(envelope, recipient)
                self.successResultOf(Deferred.fromCoroutine(checking))

    def test_addresses_may_be_judged(self) -> None:
        settings = {"accepts": lambda path: path.local_part == "ann"}
        self.successResultOf(self.check("ann@example.org", **settings))
        # RFC 5321 section 4.5.1
        self.successResultOf(self.check("PostMaster@example.org", **settings))
        self.failureResultOf(self.check("bob@example.org", **settings), NoSuchRecipient)
        self.failureResultOf(self.check("ann@example.com", **settings), RelayDenied)

    def test_addresses_may_be_judged_by_code_that_waits(self) -> None:
        answer: Deferred[bool] = Deferred()

        async def accepts(path: Path) -> bool:
            return await answer

        ann, bob = (
            self.check("ann@example.org", accepts=accepts),
            self.check("bob@example.org", accepts=lambda path: succeed(False)),
        )
        self.assertNoResult(ann)
        answer.callback(True)
        self.successResultOf(ann)
        self.failureResultOf(bob, NoSuchRecipient)

    def test_the_reply_to_an_address_may_be_another(self) -> None:
        async def accepts(path: Path) -> bool:
            raise OverQuota("Write again next week")

        self.failureResultOf(self.check("ann@example.org", accepts=accepts), OverQuota)

    def test_a_plain_function_gets_messages(self) -> None:
        def take(envelope: Envelope, message: Spool) -> None:
            self.received.append((envelope, message.data))

        envelope = make_envelope("ann@example.org")
        outcomes = self.successResultOf(
            Deferred.fromCoroutine(
                CallableDelivery(take, ["example.org"]).deliver(
                    envelope=envelope, message=Spool.from_bytes(b"a\r\n")
                )
            )
        )
        self.assertEqual(outcomes, [Outcome(envelope.recipients[0])])
        self.assertEqual(self.received, [(envelope, b"a\r\n")])

    def test_the_function_gets_the_message(self) -> None:
        envelope = make_envelope("ann@example.org", "bob@example.org")
        delivery = self.delivery()
        self.successResultOf(Deferred.fromCoroutine(delivery.check_sender(envelope=envelope)))
        outcomes = self.successResultOf(
            Deferred.fromCoroutine(
                delivery.deliver(envelope=envelope, message=Spool.from_bytes(b"hi\r\n"))
            )
        )
        self.assertEqual(outcomes, [Outcome(recipient) for recipient in envelope.recipients])
        self.assertEqual(self.received, [(envelope, b"hi\r\n")])

    def test_the_function_may_refuse_single_recipients(self) -> None:
        async def judge(envelope: Envelope, message: Spool) -> list[Outcome]:
            ann, bob = envelope.recipients
            return [Outcome(ann), Outcome(bob, NoSuchRecipient())]

        envelope = make_envelope("ann@example.org", "bob@example.org")
        outcomes = self.successResultOf(
            Deferred.fromCoroutine(
                CallableDelivery(judge, ["example.org"]).deliver(
                    envelope=envelope, message=Spool.from_bytes(b"")
                )
            )
        )
        self.assertEqual([type(each.error) for each in outcomes], [type(None), NoSuchRecipient])

    def test_the_function_may_wait_and_refuse(self) -> None:
        gate: Deferred[None] = Deferred()

        async def refuse(envelope: Envelope, message: Spool) -> None:
            await gate
            raise MessageRefused("No")

        delivery = CallableDelivery(refuse, ["example.org"])
        done = Deferred.fromCoroutine(
            delivery.deliver(envelope=make_envelope("a@example.org"), message=Spool())
        )
        self.assertNoResult(done)
        gate.callback(None)
        self.failureResultOf(done, MessageRefused)


class ContractTests(DeliveryContract, TestCase):
    """What every delivery must do."""

    async def make_delivery(self, accounts: Sequence[str]) -> IMessageDelivery:
        self.kept: dict[str, list[bytes]] = {}

        async def keep(envelope: Envelope, message: Spool) -> None:
            with message.open() as file:
                content = file.read()
            for recipient in envelope.recipients:
                self.kept.setdefault(str(recipient.path).lower(), []).append(content)

        return CallableDelivery(keep, ["example.org"], lambda path: str(path).lower() in accounts)

    async def delivered(self, account: str) -> Sequence[bytes]:
        return self.kept.get(account, [])


class PortalTests(SynchronousTestCase):
    def test_everybody_gets_the_delivery(self) -> None:
        async def keep(envelope: Envelope, message: Spool) -> None:
            raise NotImplementedError

        delivery = CallableDelivery(keep, ["example.org"])
        portal = delivery_portal(delivery)
        interface, avatar, logout = self.successResultOf(
            portal.login(Anonymous(), None, IMessageDelivery)
        )
        self.assertIs(interface, IMessageDelivery)
        self.assertIs(avatar, delivery)
        logout()
        password = UsernamePassword(b"ann", b"x")
        self.failureResultOf(portal.login(password, None, IMessageDelivery), UnhandledCredentials)
        self.failureResultOf(portal.login(Anonymous(), None, IMailAccount), NotImplementedError)

    def test_users_may_log_in(self) -> None:
        accounts = []

        def keep(envelope: Envelope, message: Spool) -> None:
            accounts.append(envelope.account)

        users: Any = InMemoryUsernamePasswordDatabaseDontUse(ann=b"secret")
        portal = delivery_portal(CallableDelivery(keep, ["example.org"]), [users])
        message = b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
        for factory, login, expected in (
            (SMTPFactory(portal), b"", [None]),
            (SMTPFactory(portal), b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n", ["ann"]),
            (SubmissionFactory(portal), b"", []),
            (SubmissionFactory(portal), b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n", ["ann"]),
        ):
            factory.clock = cast(Any, Clock())
            factory.allow_plaintext_passwords = True
            connection = factory.buildProtocol(None)
            connection.makeConnection(StringTransport())
            connection.dataReceived(b"EHLO x\r\n" + login + message)
            connection.dataReceived(b"From: ann@example.org\r\n\r\nhi\r\n.\r\n")
            self.assertEqual(accounts, expected)
            accounts.clear()
            connection.connectionLost(Failure(ConnectionDone()))

    def test_the_account_is_what_the_checker_says(self) -> None:
        """Not what the client says: another name, or none, with the same token."""
        accounts = []

        def keep(envelope: Envelope, message: Spool) -> None:
            accounts.append(envelope.account)

        path = self.mktemp()
        with open(path, "w", encoding="ascii") as file:
            file.write("ann:secret\n")
        checkers = [FilePasswordDB(path, caseSensitive=False), Tokens()]
        portal = delivery_portal(CallableDelivery(keep, ["example.org"]), checkers)
        for mechanism, response in (
            (b"PLAIN", b"\0ANN\0secret"),
            (b"OAUTHBEARER", b"n,,\x01auth=Bearer xyz\x01\x01"),
            (b"OAUTHBEARER", b"n,a=bob@example.org,\x01auth=Bearer xyz\x01\x01"),
        ):
            factory = SubmissionFactory(portal)
            factory.clock = cast(Any, Clock())
            factory.allow_plaintext_passwords = True
            connection = factory.buildProtocol(None)
            connection.makeConnection(StringTransport())
            login = b"AUTH %b %b\r\n" % (mechanism, base64.b64encode(response))
            message = b"MAIL FROM:<ann@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
            connection.dataReceived(b"EHLO x\r\n" + login + message)
            connection.dataReceived(b"From: ann@example.org\r\n\r\nhi\r\n.\r\n")
            self.assertEqual(accounts.pop(), "ann", response)
            connection.connectionLost(Failure(ConnectionDone()))

    def avatar_of(self, delivery: IMessageDelivery) -> Any:
        """The delivery of a user, ann."""
        portal = delivery_portal(delivery, [Tokens()])
        credentials: Any = BearerToken("bob", "xyz")
        _, avatar, _ = self.successResultOf(portal.login(credentials, None, IMessageDelivery))
        return avatar

    def test_a_users_delivery_does_what_the_other_does(self) -> None:
        delivery = CallableDelivery(Mock(return_value=None), ["example.org"])
        avatar = self.avatar_of(delivery)
        for interface in (IMessageDelivery, IDeliveryAbilities, ISenderPolicy):
            verifyObject(interface, avatar)
        self.assertEqual(avatar.abilities, delivery.abilities)
        self.assertFalse(IQueueStarter.providedBy(avatar))
        envelope = make_envelope("ann@example.com")
        checking = avatar.check_recipient(envelope=envelope, recipient=envelope.recipients[0])
        self.failureResultOf(Deferred.fromCoroutine(checking), RelayDenied)
        owning = avatar.owns_address(path=Path("any", "example.com"))
        self.assertTrue(self.successResultOf(Deferred.fromCoroutine(owning)))

    def test_a_checker_that_gives_no_name(self) -> None:
        for given in (None, b"\xff", 7):
            checker = Tokens()
            checker.requestAvatarId = Mock(return_value=succeed(given))  # type: ignore[method-assign]
            portal = delivery_portal(CallableDelivery(Mock(), ["example.org"]), [checker])
            credentials: Any = BearerToken("bob", "xyz")
            login = portal.login(credentials, None, IMessageDelivery)
            self.failureResultOf(login, TypeError, UnicodeDecodeError)

    def test_its_own_rule_for_senders_stays(self) -> None:
        delivery: Any = CallableDelivery(Mock(return_value=None), ["example.org"])
        delivery.account = "everybody"
        delivery.owns_address = lambda path: succeed(path.local_part == "ann")
        alsoProvides(delivery, ISenderPolicy)
        avatar = self.avatar_of(delivery)
        self.assertEqual(avatar.account, "ann")
        for name, owned in (("ann", True), ("bob", False)):
            owning = avatar.owns_address(path=Path(name, "example.org"))
            self.assertEqual(self.successResultOf(Deferred.fromCoroutine(owning)), owned)

    def test_what_is_no_delivery_is_told_at_once(self) -> None:
        def keep(envelope: Envelope, message: Spool) -> None: ...

        function: Any = keep
        error = self.assertRaises(ValueError, delivery_portal, function)
        self.assertIn("CallableDelivery", str(error))
        delivery: Any = CallableDelivery(keep, ["example.org"])
        error = self.assertRaises(ValueError, SMTPFactory, delivery)
        self.assertIn("delivery_portal", str(error))

    def test_what_is_no_list_of_outcomes(self) -> None:
        for answer in (True, "250 OK", 250):
            delivery = CallableDelivery(Mock(return_value=answer), ["example.org"])
            delivering = delivery.deliver(make_envelope("ann@example.org"), Spool())
            error = self.failureResultOf(Deferred.fromCoroutine(delivering), TypeError)
            self.assertIn("None or a list of outcomes", str(error.value))
