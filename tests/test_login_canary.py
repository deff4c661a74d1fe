"""What a client sends to log in by is in no log: by no mechanism, over no protocol, right or wrong."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import pyotp
from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs, eventAsJSON, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailkit import login
from mailkit._typing import override
from mailkit.auth.app_passwords import new_app_password
from mailkit.auth.certificates import CertificateNames
from mailkit.auth.checkers import DirectoryChecker
from mailkit.auth.passwords import PasswordHasher
from mailkit.auth.portal import make_portal
from mailkit.auth.scram import keys_of
from mailkit.auth.totp import new_second_factor
from mailkit.coroutines import run
from mailkit.errors import TokenRefused
from mailkit.ftp.protocol import FTPFactory
from mailkit.homes.disk import FileHomes
from mailkit.identity import SecondFactor
from mailkit.imap.protocol import IMAPFactory
from mailkit.interfaces import IBearerToken
from mailkit.pop3.protocol import POP3Factory
from mailkit.sasl import MECHANISMS
from mailkit.smtp.submission import SubmissionFactory
from mailkit.store.memory import MemoryStore
from mailkit.wire.gssapi import client_mechanisms
from mailkit.wire.sasl import SASLError
from mailkit.wire.sasl_client import CLIENT_MECHANISMS, Credentials, SASLClient
from mailkit.wire.scram import HASHES
from tests.auth.fakes import ImmediateExecutor
from tests.certificates import make_client
from tests.sasl.dialogues import DIALOGUES, Dialogue
from tests.sasl.toy_kerberos import ToyAcceptor, ToyContext

ANN = "ann@example.org"
CANARY = "correct horse battery staple"
TOKEN = "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ"
TOTP_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
#: Characters of a part of a message that cannot stand in a log by chance.
SHORTEST = 12


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class CanaryTestCase(SynchronousTestCase):
    """Whatever is typed as a password, or is no account's name, is in no log."""

    def look(self, events: list[Any], *secrets: str) -> None:
        """None of them is in the log."""
        for event in events:
            text = "".join([str(formatEvent(event)), repr(event), eventAsJSON(event)])
            for secret in secrets:
                self.assertNotIn(secret, text)


class PasswordTests(CanaryTestCase):
    def setUp(self) -> None:
        self.store = store = MemoryStore()
        adding = store.add_account(name=ANN, password_hash="{PLAIN}" + CANARY)
        self.successResultOf(run(adding))
        self.clock = Clock()
        self.clock.advance(1_000_000_000)
        reactor: Any = MemoryReactorClock()
        executor: Any = ImmediateExecutor()
        hasher = PasswordHasher(
            executor, clock=self.clock, executor=executor, time_cost=1, memory_cost=8
        )
        homes = FileHomes(os.path.abspath(self.mktemp()), in_thread=maybeDeferred)
        deliveries: Any = lambda *_: object()  # noqa: E731
        checker = DirectoryChecker(store, hasher, seconds=self.clock.seconds)
        self.portal = make_portal(
            store, [checker], deliveries=deliveries, homes=homes, create_accounts=False
        )
        settings: Any = {"clock": self.clock}
        self.factories: dict[str, Any] = {
            "imap": IMAPFactory(self.portal, **settings),
            "pop3": POP3Factory(self.portal, **settings),
            "submission": SubmissionFactory(self.portal, hostname="mx.example.org", **settings),
            "ftp": FTPFactory(self.portal, reactor=reactor, **settings),
        }

    def dialogues(self, name: str, password: str) -> list[tuple[str, list[str]]]:
        """Protocols and lines of clients: each way to log in over a connection of its own."""
        plain = encode(f"\0{name}\0{password}")
        steps = [encode(name), encode(password)]
        dialogues = {
            "imap": [
                [f'a LOGIN "{name}" "{password}"'],
                [f"a AUTHENTICATE PLAIN {plain}"],
                ["a AUTHENTICATE PLAIN", plain],
                ["a AUTHENTICATE LOGIN", *steps],
            ],
            "pop3": [
                [f"USER {name}", f"PASS {password}"],
                [f"AUTH PLAIN {plain}"],
                ["AUTH LOGIN", *steps],
            ],
            "submission": [
                ["EHLO c.example.org", f"AUTH PLAIN {plain}"],
                ["EHLO c.example.org", "AUTH LOGIN", *steps],
                ["EHLO c.example.org", f"AUTH LOGIN {steps[0]}", steps[1]],
            ],
            "ftp": [[f"USER {name}", f"PASS {password}"]],
        }
        return [(protocol, lines) for protocol, each in dialogues.items() for lines in each]

    def talk(self, protocol: str, lines: list[str]) -> None:
        connection = self.factories[protocol].buildProtocol(None)
        transport = StringTransport(peerAddress=IPv4Address("TCP", "127.0.0.1", 54321))
        connection.makeConnection(transport)
        for line in lines:
            connection.dataReceived(line.encode() + b"\r\n")
            self.clock.advance(0.1)

    def check(self, name: str, password: Callable[[], str]) -> set[str]:
        """Log in by each dialogue; what the log tells of that.

        :param password: asked for it each time.
        """
        outcomes = set()
        for number in range(11):
            typed = password()
            protocol, lines = self.dialogues(name, typed)[number]
            with capturedLogs() as events:
                self.talk(protocol, lines)
                # Answers to wrong ones are held back.
                self.clock.advance(60)
            (outcome,) = [event["outcome"] for event in events if "outcome" in event]
            outcomes.add(outcome)
            self.look(events, CANARY, encode(CANARY)[:-4], typed, encode(typed), lines[-1])
        return outcomes

    def test_passwords(self) -> None:
        self.assertEqual(self.check(ANN, lambda: CANARY), {"succeeded"})
        self.assertEqual(self.check(ANN, lambda: CANARY + "!"), {"failed"})
        self.assertEqual(self.check(CANARY, lambda: CANARY), {"failed"})

    def test_a_password_that_is_no_command(self) -> None:
        with capturedLogs() as events:
            self.talk("pop3", [CANARY])
        self.look(events, CANARY)

    def test_app_passwords(self) -> None:
        shown, kept = new_app_password(["imap", "pop3", "smtp", "ftp"], 0)
        self.successResultOf(run(self.store.add_app_password(ANN, kept)))
        for typed in (shown, shown.replace("-", "")):
            self.assertEqual(self.check(ANN, lambda typed=typed: typed), {"succeeded"})
        self.assertEqual(self.check(ANN, lambda: shown[:-5] + "0000"), {"failed"})
        other, kept = new_app_password(["web"], 0)
        self.successResultOf(run(self.store.add_app_password(ANN, kept)))
        self.assertEqual(self.check(ANN, lambda: other), {"failed"})

    def test_codes_of_devices(self) -> None:
        self.successResultOf(run(self.store.set_second_factor(ANN, SecondFactor(TOTP_SECRET))))
        totp = pyotp.TOTP(TOTP_SECRET)

        def code(offset: int) -> str:
            return CANARY + totp.generate_otp(int(self.clock.seconds()) // 30 + offset)

        self.assertEqual(self.check(ANN, lambda: code(0)), {"succeeded"})
        self.assertEqual(self.check(ANN, lambda: code(1000)), {"failed"})

    def test_recovery_codes(self) -> None:
        factor, codes = new_second_factor()
        self.successResultOf(run(self.store.set_second_factor(ANN, factor)))
        with capturedLogs() as events:
            for lines in (
                [f'a LOGIN "{ANN}" "{CANARY}{codes[0]}"'],
                [f'a LOGIN "{ANN}" "{CANARY}{codes[0]}"'],
            ):
                self.talk("imap", lines)
                self.clock.advance(60)
        self.assertEqual([e["outcome"] for e in events if "outcome" in e], ["succeeded", "failed"])
        self.look(events, CANARY, codes[0], codes[0].replace("-", ""), factor.secret)


class Said(SASLClient):
    """A mechanism whose client says one thing."""

    plaintext = False

    def __init__(self, name: str, words: bytes) -> None:
        super().__init__(Credentials(ANN))
        self.name = name
        self._words = words

    @override
    def initial_response(self) -> bytes:
        return self._words

    @override
    def respond(self, challenge: bytes) -> bytes:
        return b""


@implementer(ICredentialsChecker)
class Tokens:
    """Knows one token."""

    credentialInterfaces = (IBearerToken,)

    def requestAvatarId(self, credentials: Any) -> Deferred[str]:
        return succeed(ANN) if credentials.token == TOKEN else fail(TokenRefused("invalid_token"))


class MechanismTests(CanaryTestCase):
    def setUp(self) -> None:
        self.store = MemoryStore()
        stored = "{PLAIN}" + CANARY
        self.successResultOf(run(self.store.add_account(name=ANN, password_hash=stored)))
        keys = keys_of(CANARY, list(HASHES))
        self.successResultOf(run(self.store.set_password(ANN, stored, keys)))
        deliveries: Any = lambda *_: object()  # noqa: E731
        self.acceptor = ToyAcceptor()
        self.portal = make_portal(
            self.store,
            deliveries=deliveries,
            certificates=CertificateNames(),
            kerberos=self.acceptor,
            guest_of=ANN,
        )
        self.portal.registerChecker(Tokens())
        self.certificate = b""
        self.patch(login, "peer_certificate", lambda transport: self.certificate)
        self.patch(login, "ends_tls", lambda transport: True)
        self.patch(login, "channel_binding", lambda transport, kind: b"binding")

    def client(self, name: str, right: bool) -> SASLClient:
        """Of a mechanism; with what is right, or what is not."""
        self.certificate = make_client(ANN if right else "eve@example.org").der
        if name == "EXTERNAL":
            return Said(name, b"")
        if name == "ANONYMOUS":
            return Said(name, b"trace")
        if name == "GSSAPI":
            context = ToyContext("ann@EXAMPLE.ORG" if right else "eve@EXAMPLE.ORG")
            return client_mechanisms(context, context.step(b""))[name](Credentials(ANN))
        password, token = (CANARY, TOKEN) if right else (CANARY + "!", TOKEN[:-1])
        by_token = name in ("OAUTHBEARER", "XOAUTH2")
        credentials = Credentials(ANN, token=token) if by_token else Credentials(ANN, password)
        client = CLIENT_MECHANISMS[name](credentials)
        client.bind(lambda kind: b"binding", list(MECHANISMS))
        return client

    def talk(self, dialogue: Dialogue, client: SASLClient) -> list[bytes]:
        """A whole exchange; all that the client has said."""
        message = client.initial_response()
        said = [message or b""]
        answer = dialogue.begin(client.name, message)
        while answer.kind == "challenge":
            try:
                said.append(client.respond(answer.octets))
            except SASLError:
                answer = dialogue.say(b"*")
                break
            answer = dialogue.respond(said[-1])
        return said

    def secrets(self, said: list[bytes]) -> Iterator[str]:
        """What must not be in the log: messages, their base64, and their parts."""
        yield from (CANARY, encode(CANARY)[:-4], TOKEN[:-1])
        for message in said:
            text = message.decode("latin-1")
            for part in (base64.b64encode(message).decode(), text, *re.split("[ ,\0\1]", text)):
                # Names may be told.
                if len(part) >= SHORTEST and not re.fullmatch(".?=?(ann|eve)@[A-Za-z.]+", part):
                    yield part

    def test_each_mechanism_of_each_protocol(self) -> None:
        for name in MECHANISMS:
            for right in (True, False):
                for kind in DIALOGUES:
                    with capturedLogs() as events:
                        dialogue = kind(self.portal, mechanisms=list(MECHANISMS))
                        said = self.talk(dialogue, self.client(name, right))
                        dialogue.clock.advance(60)
                    told = [event["outcome"] for event in events if "outcome" in event]
                    if name != "ANONYMOUS":
                        self.assertEqual(told, ["succeeded" if right else "failed"], name)
                    self.assertEqual(len(told), 1)
                    self.look(events, *self.secrets(said))
