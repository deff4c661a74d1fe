"""Delivery by HTTP: each message is posted to a program, with its envelope and a signature.

The body of the request is the message, octet for octet. Three header fields come with it:

``Mailkit-Envelope``
    JSON in ASCII: ``id`` of the transaction, ``sender`` (empty for a bounce), ``recipients``, and
    what is known of the client: ``client`` (its address), ``helo``, ``tls``, ``account`` (who has
    logged in, or null), ``quarantine`` (why the message is suspect, or null).
``Mailkit-Timestamp``
    Seconds since the epoch.
``Mailkit-Signature``
    ``sha256=`` and, in hexadecimal, the HMAC-SHA256 under the common secret of the timestamp, a
    dot, the envelope as it stands, a dot, and the body.

An answer 2xx means that the message is safe there. 4xx refuses it for good, but for 408 and 429;
these, 5xx, all other answers and no answer mean that the sender shall try again later.
"""

from __future__ import annotations

import hashlib
import hmac
import inspect
import json
from collections.abc import Iterator, Sequence
from typing import Any

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.web.iweb import IAgent
from zope.interface import implementer

from mailkit.delivery.callback import Judge
from mailkit.delivery.gate import Gate
from mailkit.errors import (
    MailError,
    MessageRefused,
    MessageTooLarge,
    NoSuchRecipient,
    TemporaryFailure,
)
from mailkit.interfaces import IMessageDelivery
from mailkit.model import Envelope, Outcome, Recipient
from mailkit.posting import TIMEOUT, Poster, PostFailed
from mailkit.spool import MEMORY_LIMIT, Spool

#: Requests at the same time, and messages that wait for one.
MAX_REQUESTS = 10
MAX_WAITING = 1000
#: Octets of recipients in one request; what does not fit goes into another one. Web servers take
#: header fields of 8 KiB.
MAX_RECIPIENTS = 4096

_CHUNK = 64 * 1024
# Answers 4xx after which trying again makes sense (RFC 9110 section 15.5.9, RFC 6585 section 4).
_TEMPORARY = frozenset((408, 429))


@implementer(IMessageDelivery)
class HTTPDelivery:
    """Posts each message to a URL.

    :param url: ``http:`` or ``https:``. The server's certificate is verified.
    :param secret: signs the requests; None for no signature.
    :param accepts: as of :class:`~mailkit.delivery.callback.CallableDelivery`: whether an address
        exists; None for all of them.
    :param reactor: Twisted's own when None.
    :param ca_file: certificates (PEM) to trust; the system's when None.
    :param agent: makes the requests, instead of one with these settings.
    :param timeout: seconds until there must be an answer.
    :raises ValueError: that is no URL, or the secret is empty.
    :raises TLSFailed: the file of certificates cannot be read.
    """

    log = Logger()

    def __init__(
        self,
        url: str,
        secret: bytes | None = None,
        *,
        accepts: Judge | None = None,
        reactor: Any = None,
        ca_file: str | None = None,
        agent: IAgent | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._poster = Poster(url, reactor=reactor, ca_file=ca_file, agent=agent, timeout=timeout)
        if secret is not None and not secret:
            raise ValueError("the secret is empty")
        self._secret = secret
        self._accepts = accepts
        self._reactor = reactor
        self._gate = Gate(MAX_REQUESTS, MAX_WAITING)

    async def check_sender(self, envelope: Envelope) -> None:
        """Anybody may send."""

    async def check_recipient(self, envelope: Envelope, recipient: Recipient) -> None:
        if self._accepts is None:
            return
        answer = self._accepts(recipient.path)
        if not (await answer if inspect.isawaitable(answer) else answer):
            raise NoSuchRecipient

    async def deliver(self, envelope: Envelope, message: Spool) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for recipients in split_recipients(envelope.recipients):
            error = await self._gate.run(
                lambda recipients=recipients: self._post(  # type: ignore[misc]
                    describe(envelope, recipients), message, envelope.transaction_id
                )
            )
            outcomes += [Outcome(recipient, error) for recipient in recipients]
        return outcomes

    async def _post(self, envelope: bytes, message: Spool, name: str) -> MailError | None:
        timestamp = b"%d" % self._reactor.seconds()
        fields = {
            b"Content-Type": b"message/rfc822",
            b"User-Agent": b"mailkit",
            b"Mailkit-Envelope": envelope,
            b"Mailkit-Timestamp": timestamp,
        }
        if self._secret is not None:
            signature = await self._sign(timestamp, envelope, message)
            fields[b"Mailkit-Signature"] = b"sha256=" + signature.encode()
        try:
            status, _ = await self._poster.post(fields, message.open())
        except PostFailed as error:
            problem = str(error)
        else:
            if 200 <= status <= 299:
                return None
            problem = f"status {status}"
            if 400 <= status <= 499 and status not in _TEMPORARY:
                self.log.info("message {id} refused by HTTP: {problem}", id=name, problem=problem)
                if status == 413:
                    return MessageTooLarge()
                return MessageRefused(f"The receiving program refused the message ({problem})")
        self.log.warn("message {id} not delivered by HTTP: {problem}", id=name, problem=problem)
        return TemporaryFailure("The receiving program cannot take the message just now")

    async def _sign(self, timestamp: bytes, envelope: bytes, message: Spool) -> str:
        if message.pieces is not None and message.size <= MEMORY_LIMIT:
            return self._hash(timestamp, envelope, message)
        pool = self._reactor.getThreadPool()
        signature: str = await deferToThreadPool(
            self._reactor, pool, self._hash, timestamp, envelope, message
        )
        return signature

    def _hash(self, timestamp: bytes, envelope: bytes, message: Spool) -> str:
        assert self._secret is not None
        code = hmac.new(self._secret, b"%b.%b." % (timestamp, envelope), hashlib.sha256)
        with message.open() as file:
            while chunk := file.read(_CHUNK):
                code.update(chunk)
        return code.hexdigest()


def split_recipients(recipients: Sequence[Recipient]) -> Iterator[list[Recipient]]:
    """Parts that fit into the header of a request."""
    part: list[Recipient] = []
    size = 0
    for recipient in recipients:
        octets = len(json.dumps(str(recipient.path))) + 2
        if part and size + octets > MAX_RECIPIENTS:
            yield part
            part, size = [], 0
        part.append(recipient)
        size += octets
    if part:
        yield part


def describe(envelope: Envelope, recipients: Sequence[Recipient]) -> bytes:
    """The value of ``Mailkit-Envelope``."""
    values = {
        "id": envelope.transaction_id,
        "sender": str(envelope.reverse_path),
        "recipients": [str(recipient.path) for recipient in recipients],
        "client": envelope.connection.peer,
        "helo": envelope.helo,
        "tls": envelope.connection.tls,
        "account": envelope.account,
        "quarantine": envelope.quarantine,
    }
    return json.dumps(values).encode("ascii")
