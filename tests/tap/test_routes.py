"""``--route`` and its companions: what they take, and what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailkit import model
from mailkit.delivery.callback import CallableDelivery
from mailkit.delivery.duplicates import Duplicates
from mailkit.delivery.http import HTTPDelivery
from mailkit.delivery.lmtp import ServerDelivery
from mailkit.delivery.local import LocalMessageDelivery
from mailkit.delivery.mailbox import MailboxDelivery
from mailkit.delivery.maildir import MaildirDelivery
from mailkit.delivery.routing import RoutingDelivery
from mailkit.errors import RelayDenied
from mailkit.interfaces import IClosableDelivery, IMessageDelivery
from mailkit.model import Ability, ConnectionInfo, Envelope, Outcome, Recipient
from mailkit.spool import Spool
from mailkit.store.memory import MemoryStore
from mailkit.tap import imap, lmtp, smtp, submission
from mailkit.tap.errors import SettingError, StartError
from mailkit.tap.routes import Deliveries, parse_routes, read_secret, split_routes
from tests.delivery.fakes import make_envelope
from tests.tap.test_options import ENDPOINT, OptionsTestCase

HERE = __name__
INFO = ConnectionInfo("smtp")
ANN = "ann@example.org"


@implementer(IMessageDelivery, IClosableDelivery)
class Kept:
    """A delivery as somebody might write it."""

    def __init__(self, argument: str = "") -> None:
        self.argument = argument
        self.closed = 0
        self.messages: list[Envelope] = []

    async def check_sender(self, envelope: Envelope) -> None:
        pass

    async def check_recipient(self, envelope: Envelope, recipient: Recipient) -> None:
        pass

    async def deliver(self, envelope: Envelope, message: Spool) -> Sequence[Outcome]:
        self.messages.append(envelope)
        return [Outcome(recipient) for recipient in envelope.recipients]

    async def close(self) -> None:
        self.closed += 1


KEPT = Kept()
NOTHING = 7


async def handle(envelope: Envelope, message: Spool) -> None:
    KEPT.messages.append(envelope)


def handle_at_once(envelope: Envelope, message: Spool) -> None:
    KEPT.messages.append(envelope)


@implementer(IMessageDelivery)
class Half:
    """Says that it is a delivery, and lacks what makes it one."""

    async def check_recipient(self, envelope: Envelope, recipient: Recipient) -> None:
        pass


def hears_of_one(message: Spool) -> None:
    raise NotImplementedError


async def waits_for_three(envelope: Envelope, message: Spool, more: str) -> None:
    raise NotImplementedError


def broken() -> None:
    raise RuntimeError("out of order")


class RouteTests(SynchronousTestCase):
    def made(self, domain: str, target: Any, **settings: Any) -> Any:
        (route,) = parse_routes({domain: target}, **settings)
        return route.make(MemoryStore(), route.domains)

    def refused(self, text: str, *wanted: str) -> None:
        error = str(self.assertRaises(SettingError, lambda: parse_routes(split_routes([text]))))
        for part in wanted:
            self.assertIn(part, error)

    def test_known_deliveries(self) -> None:
        for target, kind in (
            ("maildir:/var/mail/%d/%u", MaildirDelivery),
            ("maildir:/var/mail/%u:create", MaildirDelivery),
            ("lmtp:unix:/run/dovecot/lmtp", ServerDelivery),
            ("lmtp:127.0.0.1:24", ServerDelivery),
            ("lmtp:[::1]:24", ServerDelivery),
            ("smtp:mail.example.org", ServerDelivery),
            ("http://127.0.0.1:8000/mail?x=1", HTTPDelivery),
            ("https://example.org/", HTTPDelivery),
            ("mailbox:ann@example.org/Lists/Python", MailboxDelivery),
            ("mailbox:ann@example.org", MailboxDelivery),
            (f"{HERE}.Kept", Kept),
            (f"{HERE}.Kept:x:y", Kept),
            (f"{HERE}.KEPT", Kept),
            (f"{HERE}.handle", CallableDelivery),
            (f"{HERE}.handle_at_once", CallableDelivery),
            (KEPT, Kept),
        ):
            self.assertIsInstance(self.made("example.org", target), kind, target)
        self.assertEqual(self.made("example.org", f"{HERE}.Kept:x:y").argument, "x:y")

    def test_one_delivery_for_several_domains(self) -> None:
        texts = [f"{domain}={HERE}.handle" for domain in ("A.example", "b.example")]
        (route,) = parse_routes(split_routes(texts))
        delivery = route.make(None, route.domains)
        self.assertEqual(delivery.domains, {"a.example", "b.example"})

    def test_what_is_no_route(self) -> None:
        self.refused("example.org", "'example.org' is no route", "DOMAIN=DELIVERY", "maildir:")
        self.refused("=maildir:/x", "is no route")
        self.refused("a b=maildir:/x", "'a b' is no domain")
        for target, reason in (
            ("nothing:x", "no such delivery"),
            ("lmtp", "no such delivery"),
            ("maildir:relative/%u", "must begin with /"),
            ("maildir:/x/%z", "%z means nothing"),
            ("lmtp:", "not a server"),
            ("lmtp:host:port:x", "not a server"),
            ("https://", "is no URL"),
            ("mailbox:Lists", "name an account"),
            ("no.such.module", "cannot load no.such.module"),
            (f"{HERE}.NOTHING", "neither a delivery"),
            ("no_such_module.take", "cannot load no_such_module.take"),
            ("relay.example.net", "for a server write smtp:relay.example.net"),
            (f"{HERE}.handle:x", "takes no argument"),
            (f"{HERE}.handle_at_once:x", "takes no argument"),
            (f"{HERE}.hears_of_one", "hears_of_one is no function for mail, which is called with"),
            (f"{HERE}.waits_for_three", "waits_for_three is no function for mail, which is called"),
            (f"{HERE}.broken:x", "broken is no function for mail, which is called"),
        ):
            self.refused(f"example.org={target}", f"example.org={target}: ", reason)
        with self.assertRaises(SettingError):
            parse_routes({"example.org": object()})  # type: ignore[dict-item]

    def test_a_domain_has_one_route(self) -> None:
        texts = ["a.example=maildir:/x", "a.example=maildir:/y"]
        error = str(self.assertRaises(SettingError, split_routes, texts))
        self.assertEqual(error, "a.example has two routes")

    def test_secrets(self) -> None:
        path = self.mktemp()
        for content, secret in ((b"s3cret\n", b"s3cret"), (b" a b \r\n", b" a b "), (b"x", b"x")):
            Path(path).write_bytes(content)
            self.assertEqual(read_secret(path), secret)
        for content in (b"", b"\n", b"x" * 5000):
            Path(path).write_bytes(content)
            self.assertRaises(SettingError, read_secret, path)
        self.assertIn("cannot read", str(self.assertRaises(SettingError, read_secret, "missing")))


class DeliveriesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = MemoryStore()
        self.result(self.store.add_account(name=ANN))
        KEPT.messages.clear()
        KEPT.closed = 0

    def result(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def open(self, routes: dict[str, Any] | None = None, **settings: Any) -> Deliveries:
        deliveries = Deliveries(parse_routes(routes or {}), **settings)
        deliveries.open(self.store)
        return deliveries

    def test_without_routes(self) -> None:
        delivery = self.open(detail_to_mailbox=True).make(ANN, INFO)
        self.assertIs(type(delivery), LocalMessageDelivery)
        self.assertEqual(delivery.account, ANN)

    def test_where_mail_goes(self) -> None:
        deliveries = self.open({"routed.example": KEPT, "*": f"{HERE}.KEPT"})
        delivery = deliveries.make(ANN, INFO)
        self.assertIsInstance(delivery, RoutingDelivery)
        envelope = make_envelope(ANN, "x@routed.example", "y@elsewhere.example")
        outcomes = self.result(
            delivery.deliver(envelope=envelope, message=Spool.from_bytes(b"\r\nhi\r\n"))
        )
        self.assertEqual([outcome.error for outcome in outcomes], [None] * 3)
        sent = [str(each.path) for env in KEPT.messages for each in env.recipients]
        self.assertEqual(sorted(sent), ["x@routed.example", "y@elsewhere.example"])
        # Nobody relays through us.
        everybody = deliveries.make(None, INFO)
        path = model.Path("y", "elsewhere.example")
        self.failureResultOf(Deferred.fromCoroutine(everybody.resolve(path)), RelayDenied)

    def test_what_is_promised(self) -> None:
        everything = self.open().abilities(None)
        self.assertIn(Ability.REQUIRETLS, everything)
        for target, less in (
            ("maildir:/x", {Ability.VALID_SINCE}),
            ("mailbox:ann@example.org", {Ability.VALID_SINCE}),
            ("lmtp:unix:/x", {Ability.VALID_SINCE, Ability.DELIVERBY}),
            (KEPT, {Ability.VALID_SINCE, Ability.DELIVERBY, Ability.REQUIRETLS}),
        ):
            found = self.open({"a.example": target}).abilities(None)
            self.assertEqual(everything - found - less, frozenset(), target)
            self.assertTrue(Ability.REQUIRETLS in found or target is KEPT)

    def test_duplicates_are_known_to_all(self) -> None:
        deliveries = self.open(suppress_duplicates=60)
        for account in (None, ANN):
            envelope = make_envelope(ANN)
            message = Spool.from_bytes(b"Message-ID: <1@x>\r\n\r\nhi\r\n")
            self.result(deliveries.make(account, INFO).deliver(envelope=envelope, message=message))
        self.assertEqual(self.result(self.store.get_quota(account=ANN)).messages, 1)
        self.assertIsInstance(deliveries._settings["duplicates"], Duplicates)

    def test_deliveries_that_cannot_be_made(self) -> None:
        for target, reason in (
            (f"{HERE}.broken", "out of order"),
            (f"{HERE}.Half", "check_sender(envelope) attribute was not provided"),
            ("os.getcwd", "does not provide IMessageDelivery"),
        ):
            error = self.assertRaises(StartError, self.open, {"a.example": target})
            self.assertEqual((error.setting, error.value), ("route", f"a.example={target}"))
            self.assertIn(reason, error.reason)
        error = self.assertRaises(StartError, self.open, {"*": f"{HERE}.handle"})
        self.assertIn("without wildcards", error.reason)

    def test_closed_with_the_service(self) -> None:
        deliveries = self.open({"a.example": KEPT, "b.example": "maildir:/x"})
        self.result(deliveries.close())
        self.assertEqual(KEPT.closed, 1)


class RouteOptionsTests(OptionsTestCase):
    def test_commands_that_take_mail(self) -> None:
        for command in (smtp, lmtp, submission):
            options = command.Options()
            options.parseOptions(["--listen", ENDPOINT, "--route", "a.example=maildir:/x"])
            self.assertEqual(options.lists["route"], ["a.example=maildir:/x"])
        self.assertFalse(hasattr(imap.Options(), "opt_route"))

    def test_errors_name_the_option(self) -> None:
        serve = ["--smtp", ENDPOINT]
        self.check([*serve, "--route", "a.example"], "--route: 'a.example' is no route")
        self.check([*serve, "--route", "a.example=x:y"], "--route: a.example=x:y: ")
        self.check([*serve, "--route-secret", "missing"], "--route-secret: cannot read missing")
        self.check([*serve, "--suppress-duplicates", "x"], "--suppress-duplicates: ", "'x'")

    def test_from_a_file(self) -> None:
        path, secret = self.mktemp(), self.mktemp()
        Path(secret).write_text("between us\n")
        Path(path).write_text(
            f'smtp = "{ENDPOINT}"\nsent-copy = true\nsuppress-duplicates = 600\n'
            f'route-secret = "{secret}"\n[routes]\n"a.example" = "maildir:/x/%u"\n'
            '"*" = "smtp:127.0.0.1:25"\n'
        )
        options = self.parse("--config", path)
        self.assertEqual(options.lists["route"], ["a.example=maildir:/x/%u", "*=smtp:127.0.0.1:25"])
        self.assertEqual(options.route_secret, b"between us")
        self.assertEqual((options["sent-copy"], options["suppress-duplicates"]), (True, "600"))
        options = self.parse("--config", path, "--route", "b.example=maildir:/y")
        self.assertEqual(options.lists["route"], ["b.example=maildir:/y"])

    def test_errors_in_a_file(self) -> None:
        path = self.mktemp()
        for text, wanted in (
            ('[routes]\n"a.example" = "x:y"\n', f"{path}: routes: a.example=x:y: "),
            ("[routes]\na = 1\n", f"{path}: routes: a must be a string"),
            ('routes = "a"\n', "routes must be a table"),
        ):
            Path(path).write_text(f'smtp = "{ENDPOINT}"\n{text}')
            self.check(["--config", path], wanted)

    def test_settings_reach_the_service(self) -> None:
        from mailkit.tap.twistd import make_service

        options = self.parse(
            *("--smtp", ENDPOINT, "--store", "memory:", "--sent-copy"),
            *("--suppress-duplicates", "60", "--route", f"a.example={HERE}.KEPT"),
        )
        with mock.patch("mailkit.tap.services.Deliveries") as deliveries:
            make_service(options)
        ((routes, window), settings) = deliveries.call_args
        self.assertEqual([route.domains for route in routes], [["a.example"]])
        self.assertEqual(window, 60)
        self.assertTrue(settings["sent_copy"])
