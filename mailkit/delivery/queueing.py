"""Delivery with an outbound queue: what goes elsewhere is queued in the step that fills mailboxes.

What users send is ours once somebody has got it or the queue has it: recipients who cannot be served
now are queued for another attempt, and of those who never can the user gets a report. Strangers keep
their messages until all recipients are served, for no report may go to an address that may be forged.

A domain that has a route of its own is still handed over while the client waits: who is refused there
is refused here, and no report goes to a sender that may be forged. All other mail for elsewhere is
queued; so is all of a message that is to be held (RFC 4865), whoever gets it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from zope.interface import implementer

from mailkit._typing import override
from mailkit.copies import changed
from mailkit.delivery.fields import delivered_to, read_start
from mailkit.delivery.routing import Forward, Part, Routes, RoutingDelivery, outcomes
from mailkit.errors import MailError, PermissionDenied, RelayDenied, StoreFull
from mailkit.interfaces import (
    IDeliveryAbilities,
    IDirectory,
    IMailStore,
    IMessageDelivery,
    IQueueStarter,
)
from mailkit.model import (
    Ability,
    Envelope,
    LocalDelivery,
    LocalResult,
    OriginalRecipient,
    Outcome,
    Path,
    Recipient,
    Resolution,
)
from mailkit.queue.manager import Outgoing, QueueManager
from mailkit.queue.starting import QueueStarter
from mailkit.signing.srs import SRS
from mailkit.spool import Spool
from mailkit.wire.domains import canonical_domain

#: Octets of what may be a report that are looked at, whoever has sent it.
MAX_REPORT = 128 * 1024
#: Octets from the start of other messages among which a feedback report says that it is one.
FEEDBACK_START = 16 * 1024
#: Takes a report, to whom it came, and whether that was under the null reverse-path.
TakeReport: TypeAlias = Callable[[bytes, Path, bool], Awaitable[object]]
#: Raises a MailError where nothing can be sent to a domain in canonical form.
CheckDomain: TypeAlias = Callable[[str, Envelope], Awaitable[None]]

_ONLY_REPORTS = "Only reports about mail that was not delivered may be sent to this address"


@implementer(IMessageDelivery, IDeliveryAbilities)
class _Elsewhere:
    """Stands for the queue among the deliveries of routes."""

    abilities = frozenset((Ability.REQUIRETLS, Ability.DELIVERBY, Ability.VALID_SINCE))

    async def check_sender(self, envelope: Envelope) -> None:
        """Anybody may send."""

    def __init__(self, queue: QueueManager, check_domain: CheckDomain | None) -> None:
        self._queue = queue
        self._check_domain = check_domain

    async def check_recipient(self, envelope: Envelope, recipient: Recipient) -> None:
        """Whether somebody is there shows when the message is handed over.

        :raises MailError: nothing can be sent to that domain.
        :raises StoreFull: the queue is full.
        :raises LimitExceeded: too much waits of the account, or for the destination.
        """
        if self._check_domain is not None:
            await self._check_domain(canonical_domain(recipient.path.domain), envelope)
        await self._queue.check_recipient(envelope, recipient)

    async def deliver(self, envelope: Envelope, message: Spool) -> Sequence[Outcome]:
        """The queue gets it together with the mailboxes, in :meth:`QueueingDelivery.put`."""
        return [Outcome(recipient) for recipient in envelope.recipients]


@implementer(IQueueStarter)
class QueueingDelivery(RoutingDelivery):
    """Delivers to the accounts of a store, by routes, and by way of a queue.

    :param queue: gets what goes elsewhere.
    :param routes: where the mail of some domains goes at once.
    :param srs: knows the reverse-paths that messages were sent on with.
    :param starter: lets clients ask for the mail of domains; None where nobody may.
    :param take_report: is given what strangers send that may be a report.
    :param address: of the client.
    :param trusted: who has not logged in may send to anybody, too.
    :param check_domain: judges domains elsewhere before mail for them is taken; None to take it.
    """

    def __init__(
        self,
        store: IMailStore,
        directory: IDirectory,
        account: str | None = None,
        *,
        queue: QueueManager,
        routes: Routes | None = None,
        srs: SRS | None = None,
        starter: QueueStarter | None = None,
        take_report: TakeReport | None = None,
        address: str = "",
        trusted: bool = False,
        check_domain: CheckDomain | None = None,
        **settings: Any,
    ) -> None:
        routes = routes or Routes()
        self._elsewhere = _Elsewhere(queue, check_domain)
        #: All mail is ours to report about.
        self._reports = all(Ability.DSN in getattr(each, "abilities", ()) for each in routes)
        if routes.default is None:
            routes = Routes(routes.domains, self._elsewhere)
        super().__init__(store, directory, account, routes=routes, **settings)
        self._queue = queue
        self._srs = srs
        self._starter = starter
        self._take_report = take_report
        self._address = address
        self._trusted = trusted and account is None

    @property
    @override
    def abilities(self) -> frozenset[Ability]:
        """What the store, the queue and all routes can promise.

        Reports are for users who have logged in: others' addresses may be forged.
        """
        abilities = super().abilities
        if self.account is not None:
            abilities |= {Ability.HOLD, Ability.PRIORITY}
            if self._reports:
                abilities |= {Ability.DSN}
        if self._starter is not None:
            abilities |= {Ability.START_QUEUE}
        return abilities

    @override
    async def resolve(self, path: Path) -> Resolution:
        """As by routes; reports come back to where the message was from."""
        if self._srs is not None and self._srs.is_wrapped(path):
            return Resolution((), "", (self._srs.unwrap(path),))
        try:
            return await super().resolve(path)
        except RelayDenied:
            if not self._trusted:
                raise
            return Resolution((), "", (path,))

    @override
    async def check_recipient(self, envelope: Envelope, recipient: Recipient) -> None:
        srs = self._srs
        if srs is not None and srs.is_wrapped(recipient.path) and not envelope.reverse_path.is_null:
            # Nobody has that address but servers that report (RFC 5321 section 4.5.5).
            raise RelayDenied(_ONLY_REPORTS)
        await super().check_recipient(envelope, recipient)

    async def start_queue(self, node: str, account: str | None) -> int | None:
        if self._starter is None:
            raise PermissionDenied("no mail is kept for others to ask for")
        return await self._starter.start(self._queue, node, account, self._address)

    @override
    async def deliver(self, envelope: Envelope, message: Spool) -> Sequence[Outcome]:
        if envelope.hold_until is not None:
            await self._queue.submit(message, [Outgoing(envelope)])
            return [Outcome(recipient) for recipient in envelope.recipients]
        if self._may_be_report(envelope, message):
            octets = message.read_first(MAX_REPORT)
            found = outcomes(
                await self.deliver_to(envelope, message, await self.find_targets(envelope))
            )
            await self._match(envelope, octets, found)
            return found
        # Before the store takes the spool.
        wanted = any("SUCCESS" in (each.notify or ()) for each in envelope.recipients)
        start = read_start(message) if wanted and self.account is not None else b""
        targets = await self.find_targets(envelope)
        if not self.answers_for(envelope):
            return outcomes(await self.deliver_to(envelope, message, targets))
        with contextlib.closing(self._share(message)) as copy:
            parts = await self.deliver_to(envelope, message, targets)
            found = outcomes(parts)
            if start:
                await self._report(envelope, targets, found, start)
            if any(outcome.error is not None for outcome in found):
                return await self._answer_for(envelope, copy, parts)
        return found

    def _may_be_report(self, envelope: Envelope, message: Spool) -> bool:
        # RFC 3464 section 2: to one recipient, under the null reverse-path.
        return (
            self._take_report is not None
            and self.account is None
            # Those of our own are about what has been put down.
            and envelope.connection.protocol != "report"
            and len(envelope.recipients) == 1
            and (
                envelope.reverse_path.is_null
                # RFC 5965 section 5: feedback reports have any reverse-path.
                or _may_be_feedback(message.read_first(FEEDBACK_START))
            )
        )

    async def _match(self, envelope: Envelope, octets: bytes, found: Sequence[Outcome]) -> None:
        """Put down what a report says that has been delivered."""
        assert self._take_report is not None
        (outcome,) = found
        if outcome.error is not None:
            return
        to = outcome.recipient.path
        if self._srs is not None and self._srs.is_wrapped(to):
            # The queue knows what was sent on by its own reverse-path.
            to = self._srs.unwrap(to)
        try:
            await self._take_report(octets, to, envelope.reverse_path.is_null)
        except Exception:
            # It has arrived, whatever it says.
            self.log.failure("what {id} reports cannot be put down", id=envelope.transaction_id)

    @override
    def answers_for(self, envelope: Envelope) -> bool:
        # Of all others nobody knows whether the address is their own.
        return self.account is not None and not envelope.reverse_path.is_null

    def _share(self, message: Spool) -> Spool:
        try:
            return message.share()
        except OSError as error:
            self.log.error("cannot share a message: {error}", error=error)
            raise StoreFull from error

    async def _answer_for(
        self, envelope: Envelope, message: Spool, parts: Sequence[Sequence[Part]]
    ) -> Sequence[Outcome]:
        """Take a message all the same that could not be delivered everywhere.

        Not when it was refused everywhere: then the client is told, and nothing is left to do.
        """
        flat = [part for each in parts for part in each]
        again = [part for part in flat if part.error is not None and part.error.temporary]
        failed = [
            (replace(part.recipient, path=part.path), part.error)
            for part in flat
            if part.error is not None and not part.error.temporary
        ]
        if len(failed) == len(flat):
            return outcomes(parts)
        try:
            if again:
                # The queue may take what is in a file, and a report is still to be made of it.
                with contextlib.closing(self._share(message)) as shared:
                    await self._queue.submit(shared, self._to_be_tried_again(envelope, again))
            if failed:
                with message.open() as file:
                    await self._queue.report_failures(envelope, failed, file)
        except MailError as error:
            self.log.error(
                "message {id} cannot be queued: {error}",
                id=envelope.transaction_id,
                error=error.text,
            )
            return outcomes(parts)
        for part in flat:
            if part.error is not None:
                self.log.info(
                    "message {id} to <{to}>: {error}; {what}",
                    id=envelope.transaction_id,
                    to=str(part.path),
                    error=part.error.text,
                    what="queued" if part.error.temporary else "reported",
                )
        return [Outcome(recipient) for recipient in envelope.recipients]

    async def _report(
        self,
        envelope: Envelope,
        targets: Sequence[Any],
        outcomes: Sequence[Outcome],
        start: bytes,
    ) -> None:
        """Tell of recipients whose mailboxes have the message now (RFC 3461 section 5.2.6)."""
        arrived = [
            outcome.recipient
            for outcome, target in zip(outcomes, targets, strict=True)
            if outcome.error is None and isinstance(target, Resolution) and target.accounts
        ]
        try:
            await self._queue.report_arrival(envelope, arrived, start)
        except MailError as error:
            # The message is there: to refuse it now would bring it twice.
            self.log.error(
                "the arrival of message {id} is not reported: {error}",
                id=envelope.transaction_id,
                error=error.text,
            )

    @override
    async def store_rest(
        self,
        envelope: Envelope,
        message: Spool,
        targets: Sequence[Any],
        forwards: Collection[Forward],
    ) -> dict[str, LocalResult]:
        queued = [
            each for each in forwards if isinstance(each.delivery, _Elsewhere) and each.recipients
        ]
        if not queued:
            return await super().store_rest(envelope, message, targets, forwards)
        outgoing = [_outgoing(envelope, forward) for forward in queued]
        try:
            return await self.store(envelope, message, targets, sent=True, more=outgoing)
        except MailError as error:
            for forward in queued:
                forward.fail(error)
            return self.all_failed(targets, error)

    @override
    def goes_later(self, forward: Forward) -> bool:
        if not isinstance(forward.delivery, _Elsewhere):
            return False
        forward.errors = dict.fromkeys(forward.recipients)
        return True

    @override
    async def put(
        self,
        message: Spool,
        deliveries: Sequence[LocalDelivery],
        skip: int,
        more: Sequence[Outgoing],
    ) -> Sequence[LocalResult]:
        if not more:
            return await super().put(message, deliveries, skip, more)
        # Failures are told to whom a trusted client names as the sender.
        outgoing = [
            each._replace(
                skip=skip, envelope=_own(each.envelope) if self._trusted else each.envelope
            )
            for each in more
        ]
        return (await self._queue.submit(message, outgoing, deliveries)).results

    def _to_be_tried_again(self, envelope: Envelope, parts: Iterable[Part]) -> list[Outgoing]:
        """What the queue gets of a message that could not be delivered in these places yet."""
        by_alias: dict[Path | None, Forward] = {}
        for part in parts:
            alias = None if part.path == part.recipient.path else part.recipient.path
            forward = by_alias.setdefault(alias, Forward(self._elsewhere, alias))
            forward.recipients[part.path] = replace(part.recipient, path=part.path)
        return [_outgoing(envelope, each)._replace(tried=True) for each in by_alias.values()]


def _may_be_feedback(start: bytes) -> bool:
    """Whether a message may be a feedback report, which is one of the parts of a multipart."""
    # The body of most others is left alone.
    end = start.find(b"\r\n\r\n")
    header = start if end < 0 else start[:end]
    # "in" asks whether it is a number first, which costs an exception.
    return header.lower().find(b"multipart") >= 0 and start.lower().find(b"feedback-report") >= 0


def _own(envelope: Envelope) -> Envelope:
    """A message of which the reverse-path is believed."""
    path = envelope.reverse_path
    account = None if path.is_null else str(path)
    return changed(envelope, account=account, trusted=True)


def _outgoing(envelope: Envelope, forward: Forward) -> Outgoing:
    """A message as the queue gets it; those an alias leads to get the field that shows loops."""
    recipients = list(forward.recipients.values())
    alias = forward.alias
    if alias is None:
        return Outgoing(changed(envelope, recipients=recipients))
    # RFC 3461 section 5.2.7.1: what the sender wrote is told in reports.
    original = OriginalRecipient("rfc822" if alias.is_ascii else "utf-8", str(alias))
    recipients = [
        each if each.orcpt is not None else replace(each, orcpt=original) for each in recipients
    ]
    prefix = delivered_to(alias) if alias.domain else b""
    return Outgoing(replace(envelope, recipients=recipients), prefix=prefix)
