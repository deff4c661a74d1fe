"""What the tests of the queue share: a scripted transport, a clock, a queue in memory."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from typing import Any, BinaryIO

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from mailkit._typing import override
from mailkit.model import Envelope, Path, Recipient
from mailkit.queue.manager import Outgoing, QueueManager
from mailkit.queue.reports import Reporter
from mailkit.queue.schedule import Schedule
from mailkit.queue.transport import Handover, Result, Still, Transport
from mailkit.queue.values import Attempt, QueuedMessage, RecipientState
from mailkit.smtp.client import Status
from mailkit.spool import Spool
from mailkit.store.memory import MemoryStore
from mailkit.testing.queue import queue_envelope

START = 1_700_000_000
SAMPLE = (
    b"From: ann@example.org\r\nTo: eve@example.net\r\nSubject: Lunch\r\n"
    b"Message-ID: <1@example.org>\r\n\r\nAt noon?\r\n"
)


def reply(code: int = 250, text: str = "fine", enhanced: str = "", **fields: Any) -> Handover:
    """What a server's reply makes of a recipient."""
    status = {2: Status.ACCEPTED, 4: Status.TEMPORARY, 5: Status.PERMANENT}[code // 100]
    attempt = Attempt(
        START, 0.1, "mx.example.net", "192.0.2.3:25", code=code, enhanced=enhanced, text=text
    )
    return Handover(status, attempt, **fields)


class ScriptedTransport(Transport):
    """Answers what a function says, and remembers what it was given."""

    def __init__(self, answer: Callable[[Recipient], Handover]) -> None:
        self.answer = answer
        self.sent: list[tuple[str, Envelope, bytes]] = []
        self.unreachable = False
        #: Set to let messages wait.
        self.gate: Deferred[None] | None = None

    @override
    async def send(
        self, domain: str, envelope: Envelope, content: BinaryIO, still: Still | None = None
    ) -> Result:
        self.sent.append((domain, envelope, content.read()))
        if self.gate is not None:
            waiting: Deferred[None] = Deferred()
            self.gate.addCallback(lambda _: waiting.callback(None))
            await waiting
        return Result([self.answer(each) for each in envelope.recipients], self.unreachable)

    def recipients(self) -> list[str]:
        """All addresses, in the order of the attempts."""
        return [str(each.path) for _, envelope, _ in self.sent for each in envelope.recipients]


class QueueTestCase(TestCase):
    """A manager on a virtual clock."""

    schedule = Schedule(jitter=0)

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.store = MemoryStore(clock=self.clock)
        self.queue = self.store.queue
        self.transport = ScriptedTransport(lambda recipient: reply())
        self.manager = self.make_manager()
        self.manager.start()
        self.addCleanup(self.manager.stop)

    def make_manager(self, **settings: Any) -> QueueManager:
        reporter = Reporter("mail.example.org", self.clock.seconds, token=lambda: "token")
        settings.setdefault("schedule", self.schedule)
        return QueueManager(self.queue, self.find, reporter, clock=self.clock, **settings)

    async def find(self, domain: str) -> Transport:
        return self.transport

    async def submit(
        self, *addresses: str, account: str | None = "ann@example.org", **fields: Any
    ) -> str:
        envelope = queue_envelope(*addresses, account=account, **fields)
        return await self.submit_envelope(envelope)

    async def submit_envelope(self, envelope: Envelope, content: bytes = SAMPLE) -> str:
        queued = await self.manager.submit(Spool.from_bytes(content), [Outgoing(envelope)])
        return queued.ids[0]

    async def states(self, id: str) -> list[RecipientState]:
        return [each.state for each in (await self.queue.get_message(id=id)).recipients]

    async def waiting(self) -> Sequence[QueuedMessage]:
        return await self.queue.list_messages()

    def pass_time(self, seconds: float, step: float = 30.0) -> None:
        """Let time go by."""
        while seconds > 0:
            self.clock.advance(min(step, seconds))
            seconds -= step

    def reports(self) -> list[EmailMessage]:
        """What was sent to Ann."""
        return [
            parse(content)
            for _, envelope, content in self.transport.sent
            if envelope.recipients[0].path == Path("ann", "example.org")
        ]


def parse(octets: bytes) -> EmailMessage:
    """A message as the standard library sees it."""
    message = email.message_from_bytes(octets, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    return message


def status_fields(report: EmailMessage) -> list[dict[str, str]]:
    """The blocks of a report's machine-readable part."""
    part = list(report.iter_parts())[1]
    payload: Any = part.get_payload()
    return [dict(block.items()) for block in payload]
