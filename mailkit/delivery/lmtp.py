"""Delivery by LMTP to another server, which answers for each recipient by itself; or by SMTP.

The sender waits until the other server has answered: there is no queue in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from twisted.logger import Logger
from zope.interface import implementer

from mailkit.delivery.gate import Gate
from mailkit.errors import MailError, MessageRefused, RefusedElsewhere, TemporaryFailure
from mailkit.interfaces import IClosableDelivery, IDeliveryAbilities, IMessageDelivery
from mailkit.model import Ability, Envelope, Outcome, Recipient
from mailkit.smtp.client import (
    ClientError,
    ClientSettings,
    RecipientOutcome,
    SessionPool,
    Timeouts,
    TLSPolicy,
    connect,
)
from mailkit.spool import Spool

#: Connections to one server, and messages that wait for one.
MAX_CONNECTIONS = 10
MAX_WAITING = 1000
#: Connections that one message may take, when the server takes few recipients on each.
MAX_ATTEMPTS = 10
#: A server of this site is there, or is not. It may take its time to store a message.
LMTP_TIMEOUTS = Timeouts(connect=10.0, greeting=30.0, command=30.0, mail=60.0, rcpt=60.0)


@implementer(IMessageDelivery, IClosableDelivery, IDeliveryAbilities)
class ServerDelivery:
    """Hands each message to another mail server, over connections that are used again.

    Whether a recipient exists shows only when the message is handed over. What the server says to
    each recipient is passed on.

    :param server: ``unix:/path``, ``host:port``, ``host``, ``[::1]:port``.
    :param settings: how to speak to it; by LMTP when None, without TLS over a UNIX socket.
    :param reactor: Twisted's own when None.
    """

    log = Logger()
    #: A server that cannot keep REQUIRETLS does not get the message (RFC 8689 section 4.2.1); one
    #: without BINARYMIME gets it encoded (RFC 3030 section 3).
    abilities = frozenset((Ability.REQUIRETLS, Ability.BINARYMIME))

    def __init__(
        self, server: str, settings: ClientSettings | None = None, *, reactor: Any = None
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        if settings is None:
            is_socket = server.startswith("unix:")
            policy = TLSPolicy.none() if is_socket else TLSPolicy.opportunistic()
            settings = ClientSettings(lmtp=True, tls=policy, timeouts=LMTP_TIMEOUTS)
        self._server = server
        self._gate = Gate(MAX_CONNECTIONS, MAX_WAITING)
        self._pool = SessionPool(lambda: connect(server, settings, reactor=reactor), reactor)

    async def check_sender(self, envelope: Envelope) -> None:
        """Anybody may send."""

    async def check_recipient(self, envelope: Envelope, recipient: Recipient) -> None:
        """The server judges when it gets the message."""

    async def deliver(self, envelope: Envelope, message: Spool) -> Sequence[Outcome]:
        return await self._gate.run(lambda: self._deliver(envelope, message))

    async def close(self) -> None:
        await self._pool.close()

    async def _deliver(self, envelope: Envelope, message: Spool) -> Sequence[Outcome]:
        errors: dict[int, MailError | None] = {}
        pending = list(range(len(envelope.recipients)))
        for _ in range(MAX_ATTEMPTS):
            recipients = [envelope.recipients[index] for index in pending]
            try:
                session = await self._pool.take()
            except ClientError as error:
                self.log.warn(
                    "message {id} not delivered to {server}: {error}",
                    id=envelope.transaction_id,
                    server=self._server,
                    error=error.text,
                )
                errors.update(dict.fromkeys(pending, TemporaryFailure(_UNAVAILABLE)))
                break
            result = await session.send(replace(envelope, recipients=recipients), message)
            self._pool.give_back(session)
            outcomes = dict(zip(pending, result.outcomes, strict=True))
            errors.update({index: to_error(outcome) for index, outcome in outcomes.items()})
            left = [index for index, outcome in outcomes.items() if not outcome.attempted]
            if not left or len(left) == len(pending):
                break
            # The server takes no more recipients on that connection.
            pending = left
        return [
            Outcome(recipient, errors[index]) for index, recipient in enumerate(envelope.recipients)
        ]


_UNAVAILABLE = "The server for this mailbox cannot be reached just now"


def to_error(outcome: RecipientOutcome) -> MailError | None:
    """What the sender is told of a recipient."""
    if outcome.accepted:
        return None
    text = " ".join(outcome.text.split()) or "The server for this mailbox refused the message"
    if outcome.code:
        return RefusedElsewhere(text, outcome.code, outcome.enhanced)
    return TemporaryFailure(text) if outcome.temporary else MessageRefused(text)
