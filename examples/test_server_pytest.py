"""A mail server for tests by pytest, in a thread: python -m pytest test_server_pytest.py."""

import email
import email.policy
import smtplib
import threading

import pytest
from twisted.internet import reactor
from twisted.internet.threads import blockingCallFromThread

from mailkit.delivery.callback import CallableDelivery, delivery_portal
from mailkit.smtp.protocol import SMTPFactory


def send_welcome(port, address):
    """The program to be tested: it blocks, and knows nothing of Twisted."""
    with smtplib.SMTP("127.0.0.1", port) as server:
        server.sendmail("shop@example.com", [address], "Subject: Welcome\r\n\r\nHello.\r\n")


@pytest.fixture(scope="session")
def mail_thread():
    """A reactor for all tests, as none can be started twice."""
    run = threading.Thread(target=reactor.run, kwargs={"installSignalHandlers": False})
    run.start()
    yield
    reactor.callFromThread(reactor.stop)
    run.join()


class MailServer:
    def __init__(self):
        self.received = []
        self.port = None

    def accepts(self, path):
        return path.local_part != "nobody"

    def take(self, envelope, message):
        """Runs in the reactor's thread; the client hears OK when it returns."""
        with message.open() as file:
            self.received.append(email.message_from_binary_file(file, policy=email.policy.default))


@pytest.fixture
def mail_server(mail_thread):
    server = MailServer()
    delivery = CallableDelivery(server.take, ["example.org"], server.accepts)
    factory = SMTPFactory(delivery_portal(delivery))
    listening = blockingCallFromThread(
        reactor, lambda: reactor.listenTCP(0, factory, interface="127.0.0.1")
    )
    server.port = listening.getHost().port
    yield server
    blockingCallFromThread(reactor, listening.stopListening)


def test_customers_are_welcomed(mail_server):
    send_welcome(mail_server.port, "ann@example.org")
    [message] = mail_server.received
    assert message["Subject"] == "Welcome"


def test_unknown_customers_are_told(mail_server):
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        send_welcome(mail_server.port, "nobody@example.org")
    assert mail_server.received == []
