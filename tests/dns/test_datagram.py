"""Questions by UDP: who is heard, and what the log says of them."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater
from twisted.logger import formatEvent, globalLogPublisher
from twisted.names import dns

from mailkit._typing import override
from mailkit.dns.records import RecordType
from mailkit.dns.resolver import DNSResolver

from .test_resolver import Script, ServerCase, reply_to

reactor: Any = _reactor


def answer_of(message: dns.Message, address: str) -> dns.Message:
    """An answer with an address."""
    record = dns.RRHeader(message.queries[0].name.name, payload=dns.Record_A(address, 60))
    return reply_to(message, answers=[record])


class DatagramTests(ServerCase):
    async def test_the_log_says_nothing_of_a_question(self) -> None:
        place = self.script(lambda message: answer_of(message, "192.0.2.1"))
        texts: list[str | None] = []

        def note(event: Any) -> None:
            texts.append(formatEvent(event))

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        found = await DNSResolver([place], attempts=(60.0,)).lookup(
            name="example.org", type=RecordType.A
        )
        # Twisted closes its own ports a turn later.
        await deferLater(reactor, 0, lambda: None)
        self.assertEqual(found.records, ["192.0.2.1"])
        self.assertEqual([text for text in texts if text], [])

    async def test_only_the_server_is_heard(self) -> None:
        """RFC 5452 section 9.1: the answer comes from where the question went."""
        stranger = dns.DNSDatagramProtocol(Script(lambda message: None), reactor)
        self.listen(stranger)

        class Server(dns.DNSDatagramProtocol):
            """A stranger answers before it."""

            @override
            def datagramReceived(self, data: bytes, addr: Any) -> None:  # noqa: N802
                message = dns.Message()
                message.fromStr(data)
                for protocol, address in (stranger, "192.0.2.66"), (self, "192.0.2.1"):
                    protocol.transport.write(answer_of(message, address).toStr(), addr)

        server: Any = Server
        place = self.listen(server(Script(lambda message: None), reactor))
        found = await DNSResolver([place], attempts=(60.0,)).lookup(
            name="example.org", type=RecordType.A
        )
        self.assertEqual(found.records, ["192.0.2.1"])
