"""``check-domains``: RCPT is refused for domains that take no mail (RFC 7505 section 4.1)."""

from __future__ import annotations

import smtplib
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.threads import deferToThread
from twisted.names import dns
from twisted.trial.unittest import TestCase

from mailkit.store.memory import MemoryStore
from mailkit.tap.errors import SettingError
from mailkit.tap.relay import Relay
from mailkit.tap.services import MailService
from tests.dns.zones import HOST, Zone, serve_zone

reactor: Any = _reactor
ANN = "ann@example.org"


class Broken(DatagramProtocol):
    """A name server that fails."""

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:  # noqa: N802
        question = dns.Message()
        question.fromStr(datagram)
        answer = dns.Message(question.id, answer=1, recAv=1, rCode=dns.ESERVER)
        answer.queries = question.queries
        self.transport.write(answer.toStr(), addr)


class CheckDomainsTests(TestCase):
    async def setUp(self) -> None:
        address, number = serve_zone(
            self,
            Zone(
                b"example",
                {
                    b"null.example": [dns.Record_MX(0, b"", ttl=60)],
                    b"good.example": [dns.Record_MX(10, b"mx.good.example", ttl=60)],
                    b"mx.good.example": [dns.Record_A("192.0.2.1", ttl=60)],
                },
            ),
        )
        self.nameserver = f"{address}:{number}"

    async def replies(self, *domains: str, **queue: Any) -> list[tuple[int, str]]:
        """Codes of the replies to a user's recipients in some domains."""
        store = MemoryStore()
        await store.add_account(name=ANN, password_hash="{PLAIN}secret")
        table = {"nameservers": [self.nameserver], **queue}
        service = MailService(store, hostname="mx.example.org", relay=Relay("mx", table=table))
        service.add_submission("tcp:0:interface=127.0.0.1")
        service.startService()
        self.addCleanup(service.stopService)
        (port,) = service
        number = (await port._waitingForPort).getHost().port

        def ask() -> list[tuple[int, str]]:
            found = []
            with smtplib.SMTP(HOST, number, "localhost") as client:
                client.login(ANN, "secret")
                client.mail(ANN)
                for domain in domains:
                    code, text = client.rcpt(f"eve@{domain}")
                    found.append((code, text.decode().partition(" ")[0]))
            return found

        return await deferToThread(ask)

    async def test_refused(self) -> None:
        self.assertEqual(
            await self.replies(
                *("null.example", "missing.example", "good.example", "[192.0.2.1]", "example.org"),
                **{"check-domains": True},
            ),
            [(556, "5.1.10"), (550, "5.1.2"), (250, "2.1.5"), (250, "2.1.5"), (550, "5.1.1")],
        )

    async def test_taken_without_the_setting(self) -> None:
        self.assertEqual(await self.replies("null.example"), [(250, "2.1.5")])

    async def test_dns_that_does_not_answer_is_no_reason(self) -> None:
        port = reactor.listenUDP(0, Broken(), interface=HOST)
        self.addCleanup(port.stopListening)
        server = f"{HOST}:{port.getHost().port}"
        found = await self.replies(
            "null.example", **{"check-domains": True, "nameservers": [server]}
        )
        self.assertEqual(found, [(250, "2.1.5")])

    async def test_a_route_decides_by_itself(self) -> None:
        route = {"domains": ["null.example"], "to": "smtp:127.0.0.1:1"}
        found = await self.replies(
            "null.example", "missing.example", **{"check-domains": True, "routes": [route]}
        )
        self.assertEqual(found, [(250, "2.1.5"), (550, "5.1.2")])

    def test_not_where_somebody_else_sends(self) -> None:
        relay = Relay("mail.example.net", table={"check-domains": True})
        error = self.assertRaises(SettingError, MailService, "memory:", relay=relay)
        self.assertIn("check-domains is for relay mx or queue", str(error))
