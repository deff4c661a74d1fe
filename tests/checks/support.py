"""What tests of checks share: clients, and asking a check as a server does."""

from __future__ import annotations

import inspect
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailkit.hooks import MailSession
from mailkit.model import ConnectionInfo, Envelope, Path, Recipient
from tests.dns.fakes import FakeResolver

PEER = "198.51.100.7"
OWN = "192.0.2.25"


def make_session(
    peer: str = PEER, *, helo: str = "client.example.net", protocol: str = "smtp", **fields: Any
) -> MailSession:
    """A client that has said EHLO."""
    connection = ConnectionInfo(protocol, peer, 40000, OWN, 25)
    return MailSession(connection, "mx.example.org", helo=helo, esmtp=True, **fields)


def make_envelope(session: MailSession, sender: str = "ann@sender.example") -> Envelope:
    """A transaction without recipients."""
    local, _, domain = sender.rpartition("@")
    return Envelope(session.connection, session.helo, Path(local, domain), account=session.account)


def make_recipient(address: str = "bob@example.org") -> Recipient:
    local, _, domain = address.rpartition("@")
    return Recipient(Path(local, domain))


class CheckCase(SynchronousTestCase):
    """Asks checks, with a clock and a resolver of the test's."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.resolver = FakeResolver()

    @property
    def reactor(self) -> IReactorTime:
        return cast(IReactorTime, self.clock)

    def begin(self, step: Any, *arguments: Any, **named: Any) -> Deferred[Any]:
        """Ask a step, which may wait."""

        async def ask() -> Any:
            result = step(*arguments, **named)
            return await result if inspect.isawaitable(result) else result

        return Deferred.fromCoroutine(ask())

    def ask(self, step: Any, *arguments: Any, **named: Any) -> Any:
        """Ask a step that must not have to wait."""
        return self.successResultOf(self.begin(step, *arguments, **named))

    def judge(
        self,
        check: Any,
        session: MailSession | None = None,
        sender: str = "ann@sender.example",
        recipient: str = "bob@example.org",
    ) -> Any:
        """What a check says to a client that connects, says EHLO, MAIL and RCPT."""
        session = session or make_session()
        refusal = self.ask(check.connect, session=session)
        if refusal is None:
            refusal = self.ask(check.ehlo, session=session)
        envelope = make_envelope(session, sender)
        if refusal is None:
            refusal = self.ask(check.mail, session=session, envelope=envelope)
        if refusal is None:
            refusal = self.ask(
                check.rcpt,
                session=session,
                envelope=envelope,
                recipient=make_recipient(recipient),
            )
        return refusal

    def assert_refused(self, answer: Any, code: int, enhanced: str, text: str = "") -> None:
        """The answer is a refusal with that reply."""
        self.assertEqual((answer.code, answer.enhanced), (code, enhanced), answer)
        self.assertIn(text, answer.text)
