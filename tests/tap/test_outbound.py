"""``--relay`` and ``[queue]``: settings, and a service that sends."""

from __future__ import annotations

import os
import smtplib
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailkit.delivery.callback import CallableDelivery, delivery_portal
from mailkit.model import Envelope
from mailkit.queue.values import RecipientState
from mailkit.smtp.protocol import SMTPFactory
from mailkit.spool import Spool
from mailkit.tap.errors import SettingError
from mailkit.tap.mail import Options
from mailkit.tap.outbound import Outbound
from mailkit.tap.relay import Relay, read_login
from mailkit.tap.return_paths import parse_return_paths
from mailkit.tap.services import MailService
from tests.mime.test_reports import FEEDBACK, MULTI

reactor: Any = _reactor
HOST = "127.0.0.1"
LISTEN = ["--submission", "tcp:0:interface=127.0.0.1"]


async def turn() -> None:
    await deferLater(reactor, 0.01)


class SettingTests(SynchronousTestCase):
    def outbound(self, target: str = "mx", **table: Any) -> Outbound:
        return Outbound(Relay(target, None, table), "mail.example.org", None)

    def test_good_settings(self) -> None:
        for target in ("mx", "mail.example.net", "mail.example.net:587", "[::1]:2525"):
            self.outbound(target)
        self.outbound(lifetime=86400, undo=5, intervals=[60, 600.0], tls="verified")
        self.outbound(nameservers=["127.0.0.1:5353"], port=2525, history=60, max_domains=50)
        self.outbound(language="DE", languages={"ann@example.org": "ru"}, retry_rate=100)
        self.outbound(validating=True, dane=False, tls_domains={".example.net": "verified"})
        self.outbound(tls_domains={"example.net": "dane"}, mta_sts=False)
        self.outbound(tls_reports="tls@example.org", complaints=["FBL@example.org"])
        self.outbound(nameservers="127.0.0.1:5353", mechanisms="PLAIN", bind="192.0.2.1")

    def test_values_of_another_kind(self) -> None:
        for table, wanted in (
            ({"lifetime": "long"}, "lifetime must be a number"),
            ({"lifetime": 10**12}, "lifetime is out of all measure"),
            ({"intervals": [60, 10**12]}, "intervals is out of all measure"),
            ({"port": 2.5}, "port must be a whole number"),
            ({"check-domains": "yes"}, "check-domains must be true or false"),
            ({"nameservers": 53}, "nameservers must be a list"),
            ({"timeouts": 5}, "timeouts must be a table"),
            ({"helo": 1}, "helo must be a text"),
        ):
            error = self.assertRaises(SettingError, self.outbound, **table)
            self.assertEqual(str(error), wanted)

    def test_bad_settings(self) -> None:
        for target in ("", "unix:/run/x", "a b", "host:0", "host:99999"):
            self.assertRaises(SettingError, self.outbound, target)
        for table in (
            {"what": 1},
            {"lifetime": "long"},
            {"lifetime": -1},
            {"intervals": []},
            {"intervals": ["1"]},
            {"tls": "pinned"},
            {"max_domains": 1},
            {"retry_rate": 0},
            {"history": -1},
            {"languages": {"example.org": "tlh"}},
            {"logins": "/nonexistent"},
            {"language": "tlh"},
            {"language": 1},
            {"tls": "dane"},
            {"dane": "yes"},
            {"tls_reports": "me"},
            {"complaints": ["fbl"]},
            {"tls_domains": {"example.net": "pinned"}},
            {"tls_domains": {"": "verified"}},
            {"nameservers": ["dns.example"]},
            {"nameservers": ["127.0.0.1:x"]},
            {"port": 0},
            {"port": 65536},
            {"helo": "a b"},
            {"bind": ["192.0.2.1=a b"]},
            {"dane": False, "tls_domains": {"example.net": "dane"}},
        ):
            self.assertRaises(SettingError, self.outbound, **table)

    def test_errors_name_the_option(self) -> None:
        for arguments, text in (
            (["--relay", "a b"], "--relay"),
            (["--relay-login", "/nowhere"], "needs --relay"),
            (["--relay", "mx", "--relay-login", "/nowhere"], "--relay-login"),
        ):
            error = self.assertRaises(
                usage.UsageError, Options().parseOptions, [*LISTEN, *arguments]
            )
            self.assertIn(text, str(error))

    def test_words_of_relay_in_any_case(self) -> None:
        for text, target in (("MX", "mx"), ("Queue", "queue"), ("Mail.Example", "Mail.Example")):
            options = Options()
            options.parseOptions([*LISTEN, "--relay", text])
            self.assertEqual(options.relay.target, target)

    def test_settings_file(self) -> None:
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as file:
            file.write('relay = "mx"\n[queue]\nlifetime = 60\n')
        options = Options()
        options.parseOptions([*LISTEN, "--config", path])
        self.assertEqual(options.relay, Relay("mx", None, {"lifetime": 60}, [], []))
        with open(path, "w", encoding="utf-8") as file:
            file.write('relay = "mx"\n[queue]\nlifetime = "x"\n')
        error = self.assertRaises(
            usage.UsageError, Options().parseOptions, [*LISTEN, "--config", path]
        )
        self.assertIn("queue", str(error))

    def test_login(self) -> None:
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as file:
            file.write("ann\nsecret\n")
        credentials = read_login(path)
        self.assertEqual((credentials.username, credentials.password), ("ann", "secret"))
        with open(path, "w", encoding="utf-8") as file:
            file.write("ann\n")
        self.assertRaises(SettingError, read_login, path)


class ServiceTests(TestCase):
    async def test_submitted_mail_leaves(self) -> None:
        got: list[tuple[Envelope, bytes | None]] = []

        async def take(envelope: Envelope, message: Spool) -> None:
            got.append((envelope, message.data))

        portal = delivery_portal(CallableDelivery(take, domains=["example.net"]))
        remote = reactor.listenTCP(0, SMTPFactory(portal), interface=HOST)
        self.addCleanup(remote.stopListening)
        service = MailService(
            f"sqlite:{os.path.abspath(self.mktemp())}",
            hostname="mail.example.org",
            relay=Relay(f"{HOST}:{remote.getHost().port}"),
        )
        service.add_submission("tcp:0:interface=127.0.0.1")
        service.startService()
        self.addCleanup(service.stopService)
        await service.store.add_account(name="ann@example.org", password_hash="{PLAIN}secret")
        (port,) = service
        number = (await port._waitingForPort).getHost().port

        def submit() -> None:
            with smtplib.SMTP(HOST, number) as client:
                client.ehlo()
                self.assertTrue(client.has_extn("dsn"))
                client.login("ann@example.org", "secret")
                client.sendmail(
                    "ann@example.org",
                    ["eve@example.net", "ann@example.org"],
                    b"Subject: hi\r\n\r\nhi\r\n",
                )

        await deferToThread(submit)
        while not got:
            await turn()
        ((envelope, message),) = got
        self.assertEqual(envelope.helo, "mail.example.org")
        self.assertEqual(str(envelope.recipients[0].path), "eve@example.net")
        assert message is not None
        self.assertIn(b"Subject: hi", message)
        inbox = await (await service.store.open_account(name="ann@example.org")).open_mailbox(
            name="INBOX"
        )
        self.assertEqual(len(await inbox.list_uids()), 1)


class BounceServiceTests(TestCase):
    async def test_a_bounce_comes_back(self) -> None:
        got: list[Envelope] = []

        async def take(envelope: Envelope, message: Spool) -> None:
            got.append(envelope)

        portal = delivery_portal(CallableDelivery(take, domains=["example.net"]))
        remote = reactor.listenTCP(0, SMTPFactory(portal), interface=HOST)
        self.addCleanup(remote.stopListening)
        secret = self.mktemp()
        with open(secret, "wb") as file:
            file.write(b"0123456789abcdef\n")
        table = {"return-paths": {"domain": "bounces.example.org", "secret-file": secret}}
        service = MailService(
            "memory:",
            hostname="mail.example.org",
            relay=Relay(f"{HOST}:{remote.getHost().port}", None, table),
        )
        service.add_submission("tcp:0:interface=127.0.0.1")
        service.add_smtp("tcp:0:interface=127.0.0.1")
        service.startService()
        self.addCleanup(service.stopService)
        await service.store.add_account(name="ann@example.org", password_hash="{PLAIN}secret")
        submission, smtp = [(await p._waitingForPort).getHost().port for p in service]

        def submit() -> bool:
            with smtplib.SMTP(HOST, submission) as client:
                client.login("ann@example.org", "secret")
                client.sendmail(
                    "ann@example.org", ["eve@example.net"], b"Subject: hi\r\n\r\nhi\r\n"
                )
                return client.has_extn("dsn")

        # The route for what comes back keeps no sender from asking for reports.
        self.assertTrue(await deferToThread(submit))
        while not got:
            await turn()
        return_path = str(got[0].reverse_path)
        self.assertTrue(return_path.endswith("@bounces.example.org"))

        report = MULTI.replace(b"\n", b"\r\n")

        def bounce() -> None:
            with smtplib.SMTP(HOST, smtp) as client:
                with self.assertRaises(smtplib.SMTPRecipientsRefused):
                    client.sendmail("", [return_path.replace("-", "-a")], report)
                client.sendmail("", [return_path], report)

        await deferToThread(bounce)
        (message,) = [
            each
            for each in await service.store.queue.list_messages(finished=True)
            if each.envelope.account is not None
        ]
        self.assertIs(message.recipients[0].state, RecipientState.BOUNCED)
        account = await service.store.open_account(name="ann@example.org")
        inbox = await account.open_mailbox(name="INBOX")
        while not await inbox.list_uids():
            await turn()
        # RFC 5321 section 4.5.1: a postmaster is made as in any domain.
        await service.store.add_domain(domain="bounces.example.org")
        await service.store.add_alias(
            alias="postmaster@bounces.example.org", targets=["ann@example.org"]
        )

        def complain() -> None:
            with smtplib.SMTP(HOST, smtp) as client:
                to = [return_path, "postmaster@bounces.example.org"]
                self.assertEqual(client.sendmail("eve@example.net", to, report), {})

        await deferToThread(complain)
        while len(await inbox.list_uids()) < 3:
            await turn()

    async def test_complaints_at_an_address_for_them(self) -> None:
        async def take(envelope: Envelope, message: Spool) -> None:
            """Have it."""

        portal = delivery_portal(CallableDelivery(take, domains=["example.com"]))
        remote = reactor.listenTCP(0, SMTPFactory(portal), interface=HOST)
        self.addCleanup(remote.stopListening)
        service = MailService(
            "memory:",
            hostname="mail.example.org",
            relay=Relay(
                f"{HOST}:{remote.getHost().port}", None, {"complaints": ["FBL@example.org"]}
            ),
        )
        service.add_submission("tcp:0:interface=127.0.0.1")
        service.add_smtp("tcp:0:interface=127.0.0.1")
        service.startService()
        self.addCleanup(service.stopService)
        for name in ("ann@example.org", "fbl@example.org", "bob@example.org"):
            await service.store.add_account(name=name, password_hash="{PLAIN}secret")
        submission, smtp = [(await p._waitingForPort).getHost().port for p in service]

        def send() -> None:
            with smtplib.SMTP(HOST, submission) as client:
                client.login("ann@example.org", "secret")
                header = b"Message-ID: <8787KJKJ3K4J3K4J3K4J3.mail@example.net>\r\n\r\n"
                client.sendmail("ann@example.org", ["user@example.com"], header)

        async def state() -> RecipientState:
            (message,) = await service.store.queue.list_messages(finished=True)
            return message.recipients[0].state

        def complain(address: str) -> None:
            with smtplib.SMTP(HOST, smtp) as client:
                report = FEEDBACK.replace(b"\n", b"\r\n")
                client.sendmail("staff@provider.example", [address], report)

        await deferToThread(send)
        while await state() is not RecipientState.DELIVERED:
            await turn()
        for address, wanted in (
            ("bob@example.org", RecipientState.DELIVERED),
            ("fbl@example.org", RecipientState.COMPLAINED),
        ):
            await deferToThread(complain, address)
            self.assertIs(await state(), wanted)

    def test_settings(self) -> None:
        secret = self.mktemp()
        with open(secret, "wb") as file:
            file.write(b"0123456789abcdef\n")
        good: dict[str, Any] = {"domain": "b.example.org", "secret-file": secret}
        parse_return_paths({**good, "senders": ["@example.org"], "bounces": "events"})
        with open(short := self.mktemp(), "wb") as file:
            file.write(b"short\n")
        for table in (
            {},
            {**good, "what": 1},
            {**good, "domain": "no domain"},
            {**good, "secret-file": "/nowhere"},
            {**good, "secret-file": short},
            {**good, "senders": ["example.org"]},
            {**good, "bounces": "both"},
        ):
            self.assertRaises(SettingError, parse_return_paths, table)
