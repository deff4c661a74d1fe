"""A mail server inside a test, for a program that sends mail: trial test_server.py."""

import smtplib
from email.message import EmailMessage

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from mailkit.delivery.callback import CallableDelivery, delivery_portal
from mailkit.smtp.protocol import SMTPFactory


def send_welcome(host, port, address):
    """The program to be tested; it knows nothing of Twisted."""
    message = EmailMessage()
    message["From"] = "shop@example.com"
    message["To"] = address
    message["Subject"] = "Welcome"
    message.set_content("Nice to have you here.\n")
    with smtplib.SMTP(host, port) as server:
        server.send_message(message)


class WelcomeTests(TestCase):
    def setUp(self):
        self.received = []
        delivery = CallableDelivery(self.receive, domains=["example.org"])
        factory = SMTPFactory(delivery_portal(delivery))
        self.port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)

    async def receive(self, envelope, message):
        self.received.append((envelope, message.data))

    def send(self, address):
        port = self.port.getHost().port
        return deferToThread(send_welcome, "127.0.0.1", port, address)

    async def test_customers_are_welcomed(self):
        await self.send("ann@example.org")
        [(envelope, content)] = self.received
        self.assertEqual(str(envelope.reverse_path), "shop@example.com")
        self.assertEqual(str(envelope.recipients[0].path), "ann@example.org")
        self.assertIn(b"\r\nSubject: Welcome\r\n", content)

    async def test_other_domains_are_refused(self):
        with self.assertRaises(smtplib.SMTPRecipientsRefused):
            await self.send("ann@example.net")
        self.assertEqual(self.received, [])
