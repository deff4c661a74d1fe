"""What hands queued messages over: to a delivery of this site, or (``relay``) to other servers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from mailkit._typing import override
from mailkit.errors import MailError, RefusedElsewhere
from mailkit.interfaces import IClosableDelivery, IMessageDelivery, ISpooling
from mailkit.model import Envelope
from mailkit.queue.values import Attempt
from mailkit.smtp.client import Status
from mailkit.spool import READ_BUFFER, Spool
from mailkit.statuscodes import codes_of


class Handover(NamedTuple):
    """What became of one recipient."""

    status: Status
    attempt: Attempt
    #: It is in the mailbox now, not only one server further.
    arrived: bool = False
    #: The next server sends the reports that the sender wants (RFC 3461 section 5.2.2).
    reports: bool = False
    #: The next server knows until when it is to be delivered (RFC 2852).
    keeps_time: bool = False


@dataclass
class Result:
    """What became of one message."""

    #: In the order of the envelope's recipients. Nothing was tried for those who are missing at the end,
    #: for they were not to get it any more.
    recipients: Sequence[Handover]
    #: No server of the domain could be used: others for the domain need not be tried.
    unreachable: bool = False
    #: The other side was spoken to. False where the failure is ours, or of this message's own wishes: it
    #: says nothing of the domain.
    contact: bool = True


def with_error(attempt: Attempt, error: MailError) -> Attempt:
    """An attempt that has failed for this reason."""
    if isinstance(error, RefusedElsewhere):
        return attempt._replace(code=error.code, enhanced=error.enhanced, text=error.text)
    # No code: nobody has replied.
    return attempt._replace(enhanced=codes_of(error)[1], text=error.text)


#: Asked after a long wait: whether a message is still to be sent as it is.
Still = Callable[[], Awaitable[bool]]


class Transport(ABC):
    """Hands messages over for some domains."""

    #: Messages that may be under way to one domain at the same time.
    max_parallel = 20
    #: What it hands over leaves us: later failures come back by the return path.
    leaves = False

    @abstractmethod
    async def send(
        self, domain: str, envelope: Envelope, content: BinaryIO, still: Still | None = None
    ) -> Result:
        """Hand one message over to all of the envelope's recipients, who are in the domain.

        :param content: stays the caller's to close.
        :param still: is asked where the message had to wait for its turn.
        """

    async def close(self) -> None:
        """Release what is held. No message may follow."""


class WrappingTransport(Transport):
    """Changes what another transport sends.

    :param transport: sends it; closed with this one.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.max_parallel = transport.max_parallel
        self.leaves = transport.leaves

    @override
    async def close(self) -> None:
        await self.transport.close()


class DeliveryTransport(Transport):
    """Hands messages to an ``IMessageDelivery``: that of the store, or of a route.

    :param delivery: gives it, anew for each message.
    :param name: what the records call it.
    :param seconds: tells the time since the epoch.
    :param arrives: who gets a message from it has it.
    :param route: what the records call this way out.
    """

    def __init__(
        self,
        delivery: Callable[[], IMessageDelivery],
        name: str,
        seconds: Callable[[], float],
        arrives: bool = False,
        route: str = "",
    ) -> None:
        self._delivery = delivery
        self._name = name
        self._seconds = seconds
        self._arrives = arrives
        self._route = route

    @override
    async def send(
        self, domain: str, envelope: Envelope, content: BinaryIO, still: Still | None = None
    ) -> Result:
        began = self._seconds()
        delivery = self._delivery()
        errors: Sequence[MailError | None]
        try:
            errors = await self._deliver(delivery, envelope, content)
        except MailError as error:
            errors = [error] * len(envelope.recipients)
        seconds = self._seconds() - began
        return Result([self._handover(error, began, seconds) for error in errors])

    @staticmethod
    async def _deliver(
        delivery: IMessageDelivery, envelope: Envelope, content: BinaryIO
    ) -> Sequence[MailError | None]:
        spool = delivery.new_spool() if ISpooling.providedBy(delivery) else Spool()
        try:
            while data := content.read(READ_BUFFER):
                spool.write(data)
            outcomes = await delivery.deliver(envelope=envelope, message=spool)
        finally:
            spool.close()
        return [outcome.error for outcome in outcomes]

    def _handover(self, error: MailError | None, began: float, seconds: float) -> Handover:
        attempt = Attempt(int(began), seconds, self._name, command="deliver", route=self._route)
        if error is None:
            return Handover(Status.ACCEPTED, attempt, arrived=self._arrives)
        status = Status.TEMPORARY if error.temporary else Status.PERMANENT
        return Handover(status, with_error(attempt, error))

    @override
    async def close(self) -> None:
        delivery = self._delivery()
        if IClosableDelivery.providedBy(delivery):
            await delivery.close()


#: Finds the transport of a domain.
FindTransport = Callable[[str], Awaitable[Transport]]
