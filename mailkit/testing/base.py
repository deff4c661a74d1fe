"""What all contract tests share: sample messages, checks of interfaces, waiting."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from zope.interface import Interface
from zope.interface.verify import verifyObject

from mailkit.interfaces import IMailbox
from mailkit.model import AppendMessage
from mailkit.spool import Spool

if TYPE_CHECKING:
    # Trial's class has no annotations.
    MixedIn = unittest.TestCase
else:
    MixedIn = object

#: Internal date of the first sample message; each further one is a day later. 1 January 2024, noon.
FIRST_DATE = 1704110400
DAY = 24 * 60 * 60
#: Flags that sample messages have in turn.
SAMPLE_FLAGS = (frozenset[str](), frozenset({"\\Seen"}), frozenset({"\\Flagged", "$Forwarded"}))
#: Seconds that a contract test waits for something to happen.
PATIENCE = 60.0


def sample_message(number: int = 1, size: int = 0) -> bytes:
    """A small valid message, different for each number.

    :param size: octets that it has at least; lines of text fill it up.
    """
    message = (
        b"From: Ann Example <ann@example.org>\r\n"
        b"To: bob@example.org\r\n"
        b"Subject: Sample %d\r\n"
        b"Date: Mon, 01 Jan 2024 12:00:00 +0000\r\n"
        b"Message-ID: <sample-%d@example.org>\r\n"
        b"\r\n"
        b"This is sample message %d.\r\n" % (number, number, number)
    )
    line = b"All work and no play makes message %d a dull message.\r\n" % number
    return message + line * max(0, -(-(size - len(message)) // len(line)))


def sample_messages(count: int) -> list[AppendMessage]:
    """Some sample messages with varying flags, a day apart."""
    return [
        AppendMessage(
            content=Spool.from_bytes(sample_message(number)),
            flags=SAMPLE_FLAGS[number % len(SAMPLE_FLAGS)],
            internal_date=FIRST_DATE + (number - 1) * DAY,
        )
        for number in range(1, count + 1)
    ]


def spooled(content: bytes, *, on_disk: bool = False) -> Spool:
    """A spool with that content, in memory or in a file; the caller closes it."""
    if not on_disk:
        return Spool.from_bytes(content)
    spool = Spool(memory_limit=0)
    spool.write(content)
    return spool


async def read_message(mailbox: IMailbox, uid: int) -> bytes:
    """All octets of a message."""
    with await mailbox.open_message(uid=uid) as file:
        return file.read()


class Contract(MixedIn):
    """Base of the contract tests; mixed into :class:`twisted.trial.unittest.TestCase`.

    Hooks raise NotImplementedError rather than be abstract methods: pytest passes over an abstract
    class in silence, and who has forgotten a hook would take that for success.
    """

    #: Seconds that a test waits for something to happen.
    patience = PATIENCE

    @property
    def timeout(self) -> float:
        """Seconds that trial lets a whole test take, for a method that never answers."""
        return 2 * self.patience

    def check_provides(
        self,
        provider: Any,
        required: Sequence[type[Interface]],
        optional: Sequence[type[Interface]],
    ) -> None:
        """Check an object against all its interfaces: names, signatures, attributes."""
        for interface in required:
            verifyObject(interface, provider)
        for interface in optional:
            if interface.providedBy(provider):
                verifyObject(interface, provider)

    def need(self, interface: type[Interface], provider: object) -> Any:
        """The object, if it has an optional ability.

        :raises SkipTest: it has not.
        """
        if not interface.providedBy(provider):
            raise unittest.SkipTest(f"{interface.__name__} is not provided")
        return provider

    async def wait_until(
        self, condition: Callable[[], bool], otherwise: str = "it did not happen in time"
    ) -> None:
        """Wait until something is true that the reactor has yet to bring about.

        :param otherwise: what is wrong when it never is.
        """
        from twisted.internet import reactor

        clock: Any = reactor
        end = clock.seconds() + self.patience
        while not condition():
            if clock.seconds() > end:
                self.fail(otherwise)
            turn: Deferred[None] = Deferred()
            clock.callLater(0.001, turn.callback, None)
            await turn

    def close_later(self, close: Callable[[], Any]) -> None:
        """Await ``close()`` when the test is over."""

        async def run() -> None:
            await close()

        self.addCleanup(lambda: Deferred.fromCoroutine(run()))
