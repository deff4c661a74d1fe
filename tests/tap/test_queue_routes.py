"""``[[queue.routes]]`` and ``--relay-route``: settings, and mail that takes these ways."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineReceiver
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailkit.model import Envelope, Outcome
from mailkit.queue.schedule import Schedule
from mailkit.smtp.client import make_envelope
from mailkit.smtp.client.settings import TIMEOUTS
from mailkit.spool import Spool
from mailkit.tap.errors import SettingError
from mailkit.tap.mail import Options
from mailkit.tap.queue_routes import parse_routes
from mailkit.tap.queue_sending import KEYS, read_table, take_sending
from mailkit.tap.relay import Relay
from mailkit.tap.sending import SendingService
from mailkit.wire.sasl_client import CLIENT_MECHANISMS

from ..queue.servers import ScriptedServer

reactor: Any = _reactor
HOST = "127.0.0.1"
LISTEN = ["--submission", "tcp:0:interface=127.0.0.1", "--relay", "mx"]

CALLED: list[tuple[Envelope, bytes | None]] = []


async def take(envelope: Envelope, message: Spool) -> Sequence[Outcome] | None:
    CALLED.append((envelope, message.data))
    return None


class SettingTests(SynchronousTestCase):
    def parse(self, **table: Any) -> Any:
        (route,) = parse_routes([table], Schedule())
        return route

    def test_good_routes(self) -> None:
        route = self.parse(
            to=["smtp:a.example.net", "smtp:b.example.net:587"],
            domains=["Example.NET", ".example.net"],
            senders=["Ann@Example.org", "example.com"],
            accounts="ann@example.org",
            tls="required",
            username="ann",
            password="secret",
            bind=["192.0.2.1=a.example.org", "2001:db8::1"],
            helo="mail.example.org",
            intervals=[60],
            jitter=0,
            lifetime=3600,
            rate=60,
            pipelined_messages=False,
        )
        self.assertEqual(route.condition.domains, {"example.net", ".example.net"})
        self.assertEqual(route.condition.senders, {"ann@example.org", "example.com"})
        self.assertEqual((route.schedule.lifetime, route.schedule.warn_after), (3600, 14400))
        self.assertEqual(route.schedule.jitter, 0.0)
        self.assertEqual(self.parse(to="mx").schedule.jitter, 0.1)
        for target in ("mx", "lmtp:unix:/run/x", "lmtp:a.example:24", f"{__name__}.take"):
            self.parse(to=target)

    def test_what_a_route_does_not_say_is_as_in_the_queue(self) -> None:
        schedule = Schedule((60.0,), 0.2, 3600.0, 600.0)
        queue = {"helo": "mail.example.org", "rate": 30.0, "dead-time": 5.0}
        server = "smtp:a.example"
        like, own, call = parse_routes(
            [{"to": server}, {"to": server, "rate": 9, "jitter": 0}, {"to": f"{__name__}.take"}],
            schedule,
            sending=queue,
        )
        self.assertEqual((like.schedule, call.schedule), (schedule, schedule))
        self.assertEqual(own.schedule, Schedule((60.0,), 0.0, 3600.0, 600.0))
        for route, rate in ((like, 30.0), (own, 9.0)):
            sending = route.make.__self__.sending
            self.assertEqual(sending.helo, "mail.example.org")
            self.assertEqual((sending.pace.rate, sending.pace.dead_time), (rate, 5.0))

    def test_time_outs(self) -> None:
        server = {"to": "smtp:a.example"}
        found = parse_routes(
            [server, {**server, "timeouts": {"data-initiation": 60, "quit": 1.5}}],
            Schedule(),
            sending={"timeouts": {"greeting": 30}},
        )
        clients = [route.make.__self__.sending.client("mx.example.org") for route in found]
        self.assertEqual(clients[0].timeouts, TIMEOUTS._replace(greeting=30))
        self.assertEqual(clients[1].timeouts, TIMEOUTS._replace(data_initiation=60, quit=1.5))

    def test_bad_routes(self) -> None:
        server = "smtp:a.example"
        for table, text in (
            ({}, "to is missing"),
            ({"to": "mx", "what": 1}, "what"),
            ({"to": "a.example.net"}, "a.example"),
            ({"to": "smtp:a b"}, "a b"),
            ({"to": ["mx", server]}, "mx stands alone"),
            ({"to": [server, "lmtp:b.example"]}, "several servers"),
            ({"to": ["smtp:a.example:465", server]}, "465"),
            ({"to": "smtp:a.example:465", "tls": "none"}, "465"),
            ({"to": "mx", "username": "a", "password": "b"}, "login"),
            ({"to": server, "username": "a"}, "belong together"),
            ({"to": server, "login": "/nowhere"}, "/nowhere"),
            ({"to": server, "login": "x", "username": "a"}, "give login"),
            ({"to": server, "tls": "pinned"}, "tls"),
            ({"to": server, "domains": ["a b"]}, "a b"),
            ({"to": server, "accounts": ["x"]}, "x"),
            ({"to": server, "bind": ["1.2.3"]}, "bind"),
            ({"to": server, "bind": ["192.0.2.1", "192.0.2.2"]}, "IPv4"),
            ({"to": server, "attempt-delay": 9}, "attempt-delay"),
            ({"to": server, "max-connections": 0}, "max-connections"),
            ({"to": server, "timeouts": {"helo": 5}}, "timeouts: there is no 'helo'"),
            ({"to": server, "timeouts": {"mail": 0}}, "timeouts: mail must be at least 1"),
            ({"to": server, "timeouts": 5}, "timeouts"),
            ({"to": server, "mechanisms": []}, "mechanisms"),
            ({"to": server, "mechanisms": ["GSSAPI"]}, "SCRAM-SHA-256, "),
            ({"to": server, "mechanisms": [1]}, "mechanisms"),
            ({"to": server, "lifetime": -1}, "negative"),
            ({"to": server, "jitter": 1}, "jitter"),
            ({"to": server, "intervals": ["x"]}, "intervals"),
            ({"to": f"{__name__}.take", "tls": "required"}, "tls"),
            ({"to": [f"{__name__}.take", server]}, "servers"),
        ):
            error = self.assertRaises(SettingError, parse_routes, [table], Schedule())
            self.assertIn("number 1", str(error))
            self.assertIn(text, str(error), table)
        for tables in ({}, ["x"], "x"):
            self.assertRaises(SettingError, parse_routes, tables, Schedule())

    def test_mechanisms(self) -> None:
        for table, names in (
            ({"mechanisms": ["plain", "SCRAM-SHA-256"]}, ["PLAIN", "SCRAM-SHA-256"]),
            ({}, list(CLIENT_MECHANISMS)),
        ):
            sending = take_sending(read_table(table, KEYS))
            self.assertEqual(list(sending.client("mail.example.org").mechanisms), names)

    def test_options(self) -> None:
        options = Options()
        options.parseOptions([*LISTEN, "--relay-route", "example.net=smtp:gate.example.net"])
        assert options.relay is not None
        self.assertEqual(options.relay.routes, ["example.net=smtp:gate.example.net"])
        for arguments in (["--relay-route", "x"], ["--relay-route", "example.net=what:ever"]):
            error = self.assertRaises(
                usage.UsageError, Options().parseOptions, [*LISTEN, *arguments]
            )
            self.assertIn("--relay-route", str(error))
        alone = [*LISTEN[:2], "--relay-route", "example.net=mx"]
        error = self.assertRaises(usage.UsageError, Options().parseOptions, alone)
        self.assertIn("needs --relay", str(error))

    def test_settings_file(self) -> None:
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as file:
            file.write('[[queue.routes]]\ndomains = ["example.net"]\nto = "smtp:a b"\n')
        error = self.assertRaises(
            usage.UsageError, Options().parseOptions, [*LISTEN, "--config", path]
        )
        self.assertIn("queue: routes: number 1, to smtp:a b", str(error))


class LoginProtocol(LineReceiver):
    """Takes every login and every message."""

    factory: LoginServer

    def connectionMade(self) -> None:
        self.sendLine(b"220 mx")

    def lineReceived(self, line: bytes) -> None:
        verb, _, rest = line.partition(b" ")
        if verb == b"EHLO":
            self.transport.write(self.factory.greeting)  # type: ignore[union-attr]
        elif verb == b"AUTH":
            self.factory.logins.append(base64.b64decode(rest.split()[-1]).decode())
            self.sendLine(b"235 welcome")
        elif verb == b"DATA":
            self.sendLine(b"354 go on")
        elif verb in (b"MAIL", b"RCPT", b"RSET", b"QUIT", b"."):
            self.sendLine(b"250 fine")


class LoginServer(Factory):
    """A server with one answer to EHLO."""

    noisy = False

    def __init__(self, greeting: bytes) -> None:
        self.greeting = greeting
        self.logins: list[str] = []

    def buildProtocol(self, addr: Any) -> LoginProtocol:
        protocol = LoginProtocol()
        protocol.factory = self
        return protocol


class ServiceTests(TestCase):
    def listen(self, script: Any = None, interface: str = HOST) -> tuple[ScriptedServer, int]:
        server = ScriptedServer(script)
        port = reactor.listenTCP(0, server, interface=interface)
        self.addCleanup(port.stopListening)
        return server, port.getHost().port

    async def send(
        self, routes: Sequence[Any], *recipients: str, options: Sequence[str] = ()
    ) -> None:
        """Send a message, and wait for what becomes of it."""
        store = f"sqlite:{os.path.abspath(self.mktemp())}"
        relay = Relay("127.0.0.1:1", None, {"routes": routes}, options)
        service = SendingService(store, relay, hostname="mail.example.org")
        service.startService()
        self.addCleanup(service.stopService)
        events: list[Any] = []
        service._outbound.manager.outcomes.listen(events.append)
        await service.submit(
            make_envelope("ann@example.org", recipients), b"Subject: x\r\n\r\nx\r\n"
        )
        while len(events) < len(recipients):
            await deferLater(reactor, 0.01)
        self.states = {str(e.recipient.path): e.state.value for e in events}
        self.addresses = {str(e.recipient.path): e.attempt.address for e in events}
        self.routes = {str(e.recipient.path): e.attempt.route for e in events}

    async def test_the_next_server_where_one_refuses(self) -> None:
        busy, first = self.listen({"greeting": "421 busy"})
        good, second = self.listen()
        route = {"to": [f"smtp:{HOST}:1", f"smtp:{HOST}:{first}", f"smtp:{HOST}:{second}"]}
        await self.send([route], "eve@example.net")
        self.assertEqual(self.states, {"eve@example.net": "delivered"})
        self.assertEqual((busy.messages, good.messages), (0, 1))

    async def test_a_login_for_each_server(self) -> None:
        # One that offers no login gets none of the mail that it is to be sent with.
        first, second = LoginServer(b"250 mx\r\n"), LoginServer(b"250-mx\r\n250 AUTH PLAIN\r\n")
        ports = [reactor.listenTCP(0, each, interface=HOST) for each in (first, second)]
        for port in ports:
            self.addCleanup(port.stopListening)
        servers = [f"{HOST}:{port.getHost().port}" for port in ports]
        path = os.path.abspath(self.mktemp())
        with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            for server, name in zip(servers, ("ann", "bob"), strict=True):
                file.write(f"[{server!r}]\nusername = '{name}'\npassword = 'secret'\n")
        route = {"to": [f"smtp:{server}" for server in servers], "logins": path}
        await self.send([route], "eve@example.net")
        self.assertEqual(self.states, {"eve@example.net": "delivered"})
        self.assertEqual((first.logins, second.logins), ([], ["\0bob\0secret"]))

    async def test_callable_and_default(self) -> None:
        CALLED.clear()
        route = {"to": f"{__name__}.take", "domains": ["example.net"]}
        await self.send([route], "eve@example.net", "joe@example.com")
        self.assertEqual(
            self.states, {"eve@example.net": "delivered", "joe@example.com": "deferred"}
        )
        ((envelope, data),) = CALLED
        self.assertEqual(str(envelope.recipients[0].path), "eve@example.net")
        assert data is not None
        self.assertIn(b"Subject: x", data)

    async def test_attempts_name_the_way_that_they_took(self) -> None:
        _, port = self.listen()
        server = f"smtp:{HOST}:{port}"
        await self.send(
            [
                {"to": server, "domains": ["other.example"]},
                {"to": server, "domains": ["example.net"]},
                {"to": server, "domains": ["example.com"], "senders": ["ann@example.org"]},
                {"to": f"{__name__}.take", "domains": ["call.example"]},
                {"to": f"smtp:{HOST}:1", "domains": ["dead.example"]},
            ],
            "a@example.net",
            "b@example.com",
            "c@call.example",
            "d@option.example",
            "e@dead.example",
            "f@example.org",
            options=[f"option.example={server}"],
        )
        self.assertEqual(
            self.routes,
            {
                "a@example.net": f"route 2 ({server})",
                "b@example.com": f"route 3 ({server})",
                "c@call.example": f"route 4 ({__name__}.take)",
                "d@option.example": f"--relay-route ({server})",
                "e@dead.example": f"route 5 (smtp:{HOST}:1)",
                "f@example.org": "--relay 127.0.0.1:1",
            },
        )

    async def test_names_are_looked_up_as_the_system_does(self) -> None:
        _, number = self.listen()
        await self.send([{"to": f"smtp:localhost:{number}", "bind": [HOST]}], "eve@example.net")
        self.assertEqual(self.states, {"eve@example.net": "delivered"})
        self.assertEqual(self.addresses, {"eve@example.net": f"{HOST}:{number}"})
