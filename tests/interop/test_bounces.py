"""Bounces that other people's servers write come to the sender, and to the message that they are about."""

from __future__ import annotations

import json
import smtplib
from typing import Any

import pytest
from twisted.internet.threads import deferToThread

from mailkit.tap.tls import self_signed
from tests.interop import exim, postfix
from tests.interop.support import ANN, message
from tests.interop.test_outbound import SendingServer
from tests.support import HOST, PATIENCE, free_ports

EVE, JOE = "eve@remote.test", "joe@remote.test"


class BouncingServer(SendingServer):
    """A server whose mail goes to one that takes all of it, and bounces what is for ``remote.test``."""

    def begin(self, smtp: int, relay: int, **queue: Any) -> None:
        self.smtp = smtp
        line = f'smtp = "tcp:{smtp}:interface={HOST}"'
        self.server = self.start(f"{HOST}:{relay}", line, **queue)

    def send(self, envid: str) -> None:
        with smtplib.SMTP(HOST, self.submission, timeout=PATIENCE) as client:
            client.login(ANN, f"{ANN} secret")
            options = ["BODY=8BITMIME", f"ENVID={envid}", "RET=HDRS"]
            client.sendmail(ANN, [EVE, JOE], message(envid), mail_options=options)

    def recipients(self, number: int) -> list[Any]:
        shown = json.loads(self.queue("show", str(number), "--json"))
        recipients: list[Any] = shown["recipients"]
        return recipients

    def states(self, number: int) -> set[str]:
        return {each["state"] for each in self.recipients(number)}

    def check_bounces(self) -> None:
        self.send("one")
        self.wait_for(lambda: self.states(1) == {"bounced"})
        for recipient in self.recipients(1):
            (taken, report) = recipient["attempts"]
            self.assertEqual((taken["code"], report["command"]), (250, "report"))
            self.assertEqual(report["enhanced"][:2], "5.", report)
        # The sender has it as well: one report for both, or one for each.
        self.assertTrue(all(b"report-type=delivery-status" in each for each in self.inbox()))
        # Another message of that Message-ID is another message.
        self.send("two")
        self.wait_for(lambda: self.states(2) == {"bounced"})


@pytest.mark.interop
class PostfixTests(BouncingServer):
    skip = postfix.MISSING or None
    timeout = 600

    def test_bounces_of_postfix(self) -> Any:
        (smtp,) = free_ports(1)
        # It passes on to us what we do not take.
        relay = postfix.Postfix(
            {
                "relay_domains": "remote.test, example.test",
                "relay_transport": f"smtp:[{HOST}]:{smtp}",
            }
        ).start()
        self.addCleanup(relay.stop)
        self.begin(smtp, relay.port)
        return deferToThread(self.check_bounces)


@pytest.mark.interop
class EximTests(BouncingServer):
    skip = exim.MISSING or None
    timeout = 600

    def test_bounces_of_exim(self) -> Any:
        (smtp,) = free_ports(1)
        certificate, key = self_signed(self.directory / "tls")
        relay = exim.Exim(smtp, certificate, key).start()
        self.addCleanup(relay.stop)
        self.begin(smtp, relay.port)
        return deferToThread(self.check_bounces)
