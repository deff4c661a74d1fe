"""Servers that refuse, hang, go away and talk nonsense, at every step."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock, LoopingCall
from twisted.trial.unittest import TestCase

from mailkit._typing import override
from mailkit.client.errors import ConnectFailed
from mailkit.queue.hosts import ExchangerFinder, FixedHosts, Host
from mailkit.queue.opening import Sources
from mailkit.queue.pacing import PaceSettings
from mailkit.queue.relay import RelayTransport
from mailkit.queue.transport import Handover, Result
from mailkit.smtp.client import ClientSettings, Status, Timeouts
from mailkit.testing.queue import queue_envelope

from ..dns.fakes import FakeResolver
from ..support import free_ports
from .servers import DROP, HANG, ScriptedServer
from .support import SAMPLE

reactor: Any = _reactor
HOST = "127.0.0.1"
#: Seconds that the client waits: nobody's patience, unless the server is silent on purpose.
TIMEOUT = 60.0
ACCEPTED, TEMPORARY, PERMANENT = Status.ACCEPTED, Status.TEMPORARY, Status.PERMANENT
STEPS = ("MAIL", "RCPT", "DATA", "end of data")


class ScriptedTestCase(TestCase):
    """One server, and a transport to it."""

    reactor = reactor

    def setUp(self) -> None:
        self.server = ScriptedServer()
        (self.number,) = free_ports(1)
        self.port = reactor.listenTCP(self.number, self.server, interface=HOST)
        self.serve_at(HOST)

    def serve_at(self, *addresses: str) -> None:
        """Tell by DNS where the server is."""
        name = "mx.example.net"
        self.resolver = FakeResolver(
            exchangers={"example.net": [(1, name)], "example.com": [(1, name)]},
            addresses={name: addresses},
        )
        self.transport = self.make()

    async def tearDown(self) -> None:
        await self.transport.close()
        for connection in self.server.connections:
            connection.transport.abortConnection()  # type: ignore[union-attr]
        await self.port.stopListening()

    def make(self, **settings: Any) -> RelayTransport:
        times = dict.fromkeys(Timeouts._fields, TIMEOUT)
        client = ClientSettings(helo="mail.example.org", timeouts=Timeouts(**times))
        finder = ExchangerFinder(self.resolver, port=self.number)
        settings.setdefault("pace", PaceSettings(dead_time=0))
        return RelayTransport(finder, client, self.reactor, **settings)

    async def send(self, *addresses: str, domain: str = "example.net") -> Result:
        envelope = queue_envelope(*(addresses or ("eve@example.net",)))
        return await self.transport.send(domain, envelope, io.BytesIO(SAMPLE))

    async def attempt(self, **script: Any) -> Handover:
        """What becomes of one message over a connection of its own."""
        self.server.script = {name.replace("_", " "): each for name, each in script.items()}
        (handover,) = (await self.send()).recipients
        await self.transport.close()
        self.transport = self.make()
        return handover


class OwnNameTests(ScriptedTestCase):
    """DNS leads to ourselves, under another name or by another domain's record."""

    async def check(self, *exchangers: tuple[int, str]) -> None:
        resolver = FakeResolver(
            exchangers={"example.net": exchangers},
            addresses={name: [HOST] for name in ("us.example.com", "them.example.com")},
        )
        names = ["MX.example.net", "mail.example.org"]
        self.transport._finder = ExchangerFinder(resolver, port=self.number, own_names=names)
        result = await self.send()
        self.assertTrue(result.unreachable)
        self.assertEqual(self.server.steps, ["greeting", "EHLO", "QUIT"])
        (handover,) = result.recipients
        self.assertEqual(handover.status, PERMANENT)
        self.assertEqual(handover.attempt.enhanced, "5.4.6")
        self.assertEqual(handover.attempt.host, "us.example.com")

    async def test_it_calls_itself_as_we_do(self) -> None:
        await self.check((1, "us.example.com"))

    async def test_less_preferred_ones_would_send_it_back(self) -> None:
        await self.check((1, "us.example.com"), (2, "them.example.com"))


class RecordTests(ScriptedTestCase):
    async def test_each_attempt_tells_of_its_own_connection(self) -> None:
        """Though another one to the same domain was made meanwhile."""
        gate: Deferred[None] = Deferred()
        opened = self.transport._opener.open
        waiting = True

        async def open(servers: Any, settings: Any, passed_over: list[str]) -> Any:
            nonlocal waiting
            if waiting:
                waiting = False
                await gate
                raise ConnectFailed("refused")
            passed_over.append("another address was dead")
            return await opened(servers, settings, passed_over)

        self.patch(self.transport._opener, "open", open)
        failing = Deferred.fromCoroutine(self.send())
        (good,) = (await self.send()).recipients
        gate.callback(None)
        (failed,) = (await failing).recipients
        self.assertEqual((good.status, failed.status), (ACCEPTED, TEMPORARY))
        self.assertEqual(good.attempt.passed_over, "another address was dead")
        self.assertEqual(failed.attempt.passed_over, "")
        self.assertEqual(failed.attempt.host, "mx.example.net")


class ReplyTests(ScriptedTestCase):
    async def test_every_code_at_every_step(self) -> None:
        for step in STEPS:
            for code in (421, 450, 451, 452, 455, 500, 501, 503, 550, 552, 553, 554, 555, 599):
                handover = await self.attempt(
                    **{step: f"{code} 4.0.0 no" if code < 500 else f"{code} no"}
                )
                status = TEMPORARY if code < 500 else PERMANENT
                place = f"{code} at {step}"
                self.assertEqual(handover.status, status, place)
                self.assertEqual(handover.attempt.code, code, place)
                self.assertEqual(handover.attempt.command, step, place)

    async def test_no_code_of_a_greeting_is_final(self) -> None:
        for step, codes in (("greeting", (421, 450, 521, 554)), ("EHLO", (421, 450))):
            for code in codes:
                handover = await self.attempt(**{step: f"{code} no"})
                self.assertEqual(handover.status, TEMPORARY, (step, code))

    async def test_success_in_the_wrong_place(self) -> None:
        for script in (
            {"greeting": "250 hello"},
            {"greeting": "354 hello"},
            {"MAIL": "354 go on"},
            {"RCPT": "354 go on"},
            {"DATA": "250 taken"},
            {"end of data": "354 go on"},
        ):
            self.server.messages = 0
            handover = await self.attempt(**script)
            self.assertNotEqual(handover.status, ACCEPTED, script)

    async def test_long_and_broken_replies(self) -> None:
        line = "250-" + "x" * 70
        for reply in (
            "\r\n".join([line] * 50 + ["250 done"]),
            # Cut, for that a message was taken must not be missed for many words.
            "\r\n".join([line] * 5_000 + ["250 done"]),
            "250 " + "x" * 200_000,
        ):
            for step in STEPS[:2] + STEPS[3:]:
                handover = await self.attempt(**{step: reply})
                self.assertEqual(handover.status, ACCEPTED, step)
        self.assertLess(len(handover.attempt.text), 2500)
        for reply in (
            "\r\n".join([line] * 20_000 + ["250 done"]),
            "250-first\r\n450 second",
            "2500 what",
            "hello",
            "",
        ):
            handover = await self.attempt(MAIL=reply)
            self.assertEqual(handover.status, TEMPORARY, reply[:20])
            self.assertLess(len(handover.attempt.text), 2500)

    async def test_the_end_at_every_step(self) -> None:
        for step in ("greeting", "EHLO", *STEPS):
            handover = await self.attempt(**{step: DROP})
            self.assertEqual(handover.status, TEMPORARY, step)
            self.assertEqual(handover.attempt.code, 0)

    async def test_lost_after_the_dot(self) -> None:
        # Nobody knows whether it was taken: it is sent again, and may be there twice.
        self.server.script = {"end of data": [DROP]}
        self.assertEqual((await self.send()).recipients[0].status, TEMPORARY)
        self.assertEqual((await self.send()).recipients[0].status, ACCEPTED)
        self.assertEqual(self.server.messages, 2)

    async def test_greylisting(self) -> None:
        self.server.script = {"RCPT": ["450 4.7.1 try again in 5 minutes"]}
        result = await self.send()
        self.assertEqual(result.recipients[0].attempt.enhanced, "4.7.1")
        self.assertFalse(result.unreachable)
        self.assertEqual((await self.send()).recipients[0].status, ACCEPTED)


class _Patient:
    """The reactor, but waits end when they are told to: however slow a turn is, none is too slow."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.seconds = self.clock.seconds

    def callLater(self, delay: float, *call: Any) -> Any:
        # Without a delay it is no wait, but the next turn.
        return (self.clock if delay else reactor).callLater(delay, *call)

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class SilenceTests(ScriptedTestCase):
    def setUp(self) -> None:
        self.reactor = _Patient()
        super().setUp()
        self.turns = 0
        # Not once: the server may fall silent a turn before the client begins to wait.
        waiting = LoopingCall(self.wait)
        self.addCleanup(waiting.stop)
        waiting.start(0.01)

    def wait(self) -> None:
        if not any(each.silent for each in self.server.connections):
            self.turns = 0
            return
        self.turns += 1
        # What the server said before is written in one turn of the reactor and read in another.
        if self.turns > 10:
            self.turns = 0
            self.reactor.clock.advance(TIMEOUT)

    @override
    async def attempt(self, **script: Any) -> Handover:
        # Nobody waits for a server any more that was given up; it may not have noticed yet.
        for each in self.server.connections:
            each.silent = False
        self.turns = 0
        return await super().attempt(**script)

    async def test_silence_at_every_step(self) -> None:
        for step in ("greeting", "EHLO", *STEPS):
            handover = await self.attempt(**{step: HANG})
            self.assertEqual(handover.status, TEMPORARY, step)
            self.assertEqual(handover.attempt.command, step)


class ReuseTests(ScriptedTestCase):
    async def test_a_connection_that_ended_meanwhile_costs_no_attempt(self) -> None:
        for step in ("MAIL", "RCPT", "DATA"):
            self.server.script = {}
            self.assertEqual((await self.send()).recipients[0].status, ACCEPTED)
            self.server.script = {step: [DROP]}
            self.assertEqual((await self.send()).recipients[0].status, ACCEPTED, step)

    async def test_one_that_a_server_always_ends_does(self) -> None:
        await self.send()
        self.server.script = {"MAIL": DROP}
        self.assertEqual((await self.send()).recipients[0].status, TEMPORARY)

    async def test_messages_in_a_row_ask_for_nothing_between(self) -> None:
        for _ in range(3):
            await self.send()
        self.assertNotIn("NOOP", self.server.steps)
        self.assertEqual(len(self.server.connections), 1)


class LimitsTests(ScriptedTestCase):
    """A smart host that says how much a connection may be used for (RFC 9422)."""

    @override
    def make(self, **settings: Any) -> RelayTransport:
        client = ClientSettings(helo="mail.example.org")
        return RelayTransport(FixedHosts([(HOST, self.number)]), client, self.reactor, **settings)

    async def connections(self, limits: str, *domains: str) -> int:
        """How many it takes to send a message to each domain, one after the other."""
        self.server.script = {
            "EHLO": f"250-mx.example.net\r\n250-PIPELINING\r\n250 LIMITS {limits}"
        }
        self.server.connections.clear()
        for domain in domains:
            result = await self.send(f"eve@{domain}", f"joe@{domain}", domain=domain)
            self.assertEqual([each.status for each in result.recipients], [ACCEPTED] * 2, domain)
        await self.transport.close()
        self.transport = self.make()
        return len(self.server.connections)

    async def test_transactions(self) -> None:
        self.assertEqual(await self.connections("MAILMAX=2", *["example.net"] * 5), 3)

    async def test_recipients(self) -> None:
        self.assertEqual(await self.connections("RCPTMAX=1 MAILMAX=2", *["example.net"] * 2), 2)

    async def test_domains(self) -> None:
        domains = "example.net", "example.com", "example.net", "example.org"
        self.assertEqual(await self.connections("RCPTDOMAINMAX=1", *domains), 4)
        self.assertEqual(await self.connections("RCPTDOMAINMAX=3", *domains), 1)


class PaceTests(ScriptedTestCase):
    async def test_421_in_the_greeting_means_wait_where_others_are_served(self) -> None:
        self.server.script = {"greeting": ["220 mx.example.net", "421 too many", "421 too many"]}
        results = await gatherResults([Deferred.fromCoroutine(self.send()) for _ in range(4)])
        self.assertEqual({each.recipients[0].status for each in results}, {ACCEPTED})
        self.assertFalse(any(each.unreachable for each in results))

    async def test_domains_with_the_same_hosts_share_a_pace(self) -> None:
        first = await self.transport._pace("example.net")
        self.assertIs(await self.transport._pace("example.com"), first)
        self.assertIsNot(await self.transport._pace("[192.0.2.1]"), first)

    async def test_less_after_trouble(self) -> None:
        self.server.script = {"MAIL": ["451 4.3.2 busy"]}
        pace = await self.transport._pace("example.net")
        await self.send()
        self.assertEqual(pace.window, 2)
        # A mailbox that is full says nothing of the server.
        self.server.script = {"RCPT": ["452 4.2.2 full"]}
        await self.send()
        self.assertGreater(pace.window, 2)


class HostTests(ScriptedTestCase):
    async def test_a_dead_host_is_left_alone_for_a_while(self) -> None:
        await self.port.stopListening()
        self.transport = self.make(pace=PaceSettings(dead_time=60))
        first = await self.send()
        self.assertTrue(first.unreachable)
        self.port = reactor.listenTCP(self.number, self.server, interface=HOST)
        # Also for other domains.
        again = await self.send("eve@example.com", domain="example.com")
        self.assertTrue(again.unreachable)
        self.assertEqual(self.server.connections, [])
        self.assertIn("refused", again.recipients[0].attempt.text)

    async def test_the_next_address_of_a_host(self) -> None:
        self.serve_at("127.0.0.7", HOST)
        (handover,) = (await self.send()).recipients
        self.assertEqual(handover.status, ACCEPTED)
        self.assertEqual(handover.attempt.address, f"{HOST}:{self.number}")
        self.assertIn("127.0.0.7: ", handover.attempt.passed_over)

    async def test_the_next_address_after_a_refusal(self) -> None:
        busy = ScriptedServer({"greeting": "421 busy"})
        port = reactor.listenTCP(self.number, busy, interface="127.0.0.7")
        self.addCleanup(port.stopListening)
        self.serve_at("127.0.0.7", HOST)
        (handover,) = (await self.send()).recipients
        self.assertEqual(handover.status, ACCEPTED)
        self.assertEqual(busy.steps, ["greeting"])
        self.assertEqual(handover.attempt.passed_over, "127.0.0.7: 421 4.3.0 busy")

    async def test_hosts_that_the_domain_prefers_stand_in_the_record(self) -> None:
        """One that refuses, and one that is left alone because it was dead."""
        (dead,) = free_ports(1)
        busy = ScriptedServer({"greeting": ["421 4.3.1 busy"] * 9})
        port = reactor.listenTCP(0, busy, interface=HOST)
        self.addCleanup(port.stopListening)

        class Finder(ExchangerFinder):
            async def find(self, domain: str) -> Sequence[Host]:
                (host,) = await super().find(domain)
                first = host._replace(name="mx1.example.net", port=dead)
                return [first, host._replace(name="mx2.example.net", port=number), host]

        number = port.getHost().port
        self.transport = self.make(pace=PaceSettings(dead_time=60))
        self.transport._finder = Finder(self.resolver, port=self.number)
        for _ in range(2):
            (handover,) = (await self.send()).recipients
            self.assertEqual(handover.status, ACCEPTED)
            attempt = handover.attempt
            self.assertEqual(attempt.host, "mx.example.net")
            first, second = attempt.passed_over.split("; ")
            place = f"mx1.example.net 127.0.0.1:{dead}"
            self.assertRegex(first, rf"^{place}, after \d+\.\d s: Cannot connect .* refused$")
            place = f"mx2.example.net 127.0.0.1:{number}"
            self.assertRegex(second, rf"^{place}, after \d+\.\d s: 421 4\.3\.1 busy$")
            self.assertEqual(len(self.transport._links), 1)
            await next(iter(self.transport._links.values())).pool.close()

    async def test_no_host_can_be_used(self) -> None:
        """The last one is the attempt's own; the others stand beside it."""
        self.server.script = {"greeting": ["421 4.3.1 busy"] * 9}

        class Finder(ExchangerFinder):
            async def find(self, domain: str) -> Sequence[Host]:
                (host,) = await super().find(domain)
                return [host._replace(name=f"mx{i}.example.net") for i in (1, 2)]

        self.transport._finder = Finder(self.resolver, port=self.number)
        (handover,) = (await self.send()).recipients
        self.assertEqual(handover.status, TEMPORARY)
        attempt = handover.attempt
        self.assertEqual((attempt.host, attempt.code), ("mx2.example.net", 421))
        self.assertIn("mx1.example.net 127.0.0.1", attempt.passed_over)
        self.assertNotIn("mx2", attempt.passed_over)

    async def test_source_address_and_its_name(self) -> None:
        self.transport = self.make(sources=Sources({4: "127.0.0.9"}))
        client = self.transport._settings
        self.transport._settings = ClientSettings(
            helo=client.helo, helo_by_address={"127.0.0.9": "other.example.org"}
        )
        await self.send()
        self.assertEqual(self.server.names, ["other.example.org"])
        (connection,) = self.server.connections
        peer: Any = connection.transport.getPeer()  # type: ignore[union-attr]
        self.assertEqual(peer.host, "127.0.0.9")
