"""What others report of messages that have left: put down where the message is known.

The delivery here gets the mail for the domain of :class:`~mailkit.queue.return_paths.ReturnPaths`. A
report of failure makes a recipient ``bounced``, a complaint ``complained``; delays and successes change
nothing. The address proves which recipient a report is about; complaints go to an address of their
own, and have the proof in them. What comes to the senders themselves is matched by what it tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from twisted.logger import Logger
from zope.interface import implementer

from mailkit.errors import MailError, MessageRefused, NoSuchMessage, NoSuchRecipient
from mailkit.interfaces import IDeliveryAbilities, IMessageDelivery, IQueue
from mailkit.mime import (
    Action,
    DeliveryReport,
    FeedbackReport,
    ReportedRecipient,
    parse_report,
)
from mailkit.model import Ability, ConnectionInfo, Envelope, Outcome, Path, Recipient
from mailkit.queue.return_paths import ReturnPaths, SentTo
from mailkit.queue.submission import read_message_id
from mailkit.queue.values import (
    Attempt,
    NewMessage,
    QueuedMessage,
    QueuedRecipient,
    RecipientState,
    Report,
    Update,
)
from mailkit.spool import Spool

#: Octets of a report that are read.
MAX_READ = 512 * 1024
#: Characters of another server's words that are kept.
MAX_TEXT = 2000
#: Messages of one Message-ID that a report may be about.
MAX_MATCHES = 20
#: Whom providers are told to send complaints to: this, at the domain of the return paths.
COMPLAINTS = "complaints"
#: Seconds for which it is tried to bring a report to the sender's mailbox.
LIFETIME = 5 * 86_400

_REPLY = re.compile(r"([245]\d\d)[ -]")


class Told(NamedTuple):
    """What a report makes of a recipient."""

    state: RecipientState
    attempt: Attempt


@implementer(IMessageDelivery, IDeliveryAbilities)
class BounceDelivery:
    """Takes reports about messages that the queue has sent.

    :param queue: knows the messages.
    :param paths: made their return paths.
    :param seconds: tells the time since the epoch.
    :param tell: is called for each recipient with what changed, once that is durable.
    :param to_sender: the sender gets the report too, as it would without return paths of ours.
    """

    log = Logger()
    #: Whatever senders ask for is kept, for nothing is sent on.
    abilities = frozenset((Ability.DSN, Ability.REQUIRETLS, Ability.DELIVERBY, Ability.VALID_SINCE))

    def __init__(
        self,
        queue: IQueue,
        paths: ReturnPaths,
        seconds: Callable[[], float],
        tell: Callable[[QueuedMessage, QueuedRecipient, Update], None],
        *,
        to_sender: bool = True,
    ) -> None:
        self._queue = queue
        self._paths = paths
        self._seconds = seconds
        self._tell = tell
        self._to_sender = to_sender

    async def check_sender(self, envelope: Envelope) -> None:
        """Reports come from anybody, most of them from ``<>``."""

    async def check_recipient(self, envelope: Envelope, recipient: Recipient) -> None:
        if not self._takes_complaints(recipient.path):
            await self._find(self._paths.read(recipient.path))

    @staticmethod
    def _takes_complaints(path: Path) -> bool:
        return path.local_part.lower() == COMPLAINTS

    async def _find(self, sent: SentTo | None) -> tuple[QueuedMessage, QueuedRecipient]:
        """:raises NoSuchRecipient: it is not ours, or forgotten."""
        if sent is None:
            raise NoSuchRecipient
        try:
            message: QueuedMessage = await self._queue.get_message(id=sent.message)
        except NoSuchMessage:
            raise NoSuchRecipient from None
        for recipient in message.recipients:
            if recipient.id == sent.recipient:
                return message, recipient
        raise NoSuchRecipient

    async def deliver(self, envelope: Envelope, message: Spool) -> Sequence[Outcome]:
        with message.open() as file:
            octets = file.read(MAX_READ)
        report = parse_report(octets)
        outcomes = []
        for recipient in envelope.recipients:
            error: MailError | None = None
            try:
                if self._takes_complaints(recipient.path):
                    await self._take_complaint(report)
                else:
                    found = await self._find(self._paths.read(recipient.path))
                    await self._take(envelope, found, report, message)
            except MailError as caught:
                error = caught
            outcomes.append(Outcome(recipient, error))
        return outcomes

    async def _take_complaint(self, report: DeliveryReport | FeedbackReport | None) -> None:
        """:raises MessageRefused: it does not show which message it is about."""
        told = self.judge(report)
        if not isinstance(report, FeedbackReport) or told is None:
            raise MessageRefused("This address takes feedback reports (RFC 5965) only")
        sent = self._paths.read(_split(report.reverse_path))
        if sent is None and report.header is not None:
            value = report.header.get(b"return-path") or b""
            sent = self._paths.read(_split(value.decode("ascii", "replace").strip()))
        try:
            found = await self._find(sent)
        except NoSuchRecipient:
            raise MessageRefused(
                "The report does not show a return path of ours, or the message is forgotten"
            ) from None
        await self._record(found, told, [])

    async def _take(
        self,
        envelope: Envelope,
        found: tuple[QueuedMessage, QueuedRecipient],
        report: DeliveryReport | FeedbackReport | None,
        message: Spool,
    ) -> None:
        told = self.judge(report)
        reports = []
        if self._to_sender:
            reports.append(self._copy(envelope, found[0], message))
        elif told is None:
            self.log.warn(
                "mail {transaction} for the return path of message {id} to <{to}> is dropped: it"
                " reports no failure and no complaint",
                transaction=envelope.transaction_id,
                id=found[0].id,
                to=str(found[1].recipient.path),
            )
        try:
            await self._record(found, told, reports)
        finally:
            for each in reports:
                each.content.close()

    async def _record(
        self,
        found: tuple[QueuedMessage, QueuedRecipient],
        told: Told | None,
        reports: Sequence[Report],
    ) -> None:
        message, recipient = found
        updates = []
        if told is not None and recipient.state.final and recipient.state.allows(told.state):
            updates.append(Update(recipient.id, told.state, attempt=told.attempt))
        if updates or reports:
            await self._queue.record(updates=updates, reports=reports)
        for update in updates:
            self._tell(message, recipient, update)

    def judge(self, report: DeliveryReport | FeedbackReport | None) -> Told | None:
        """What a report makes of the recipient that it is about; None for nothing."""
        now = int(self._seconds())
        if isinstance(report, FeedbackReport):
            return judge_complaint(report, now)
        for each in report.recipients if report is not None else ():
            assert report is not None
            told = judge_recipient(report, each, now)
            if told is not None:
                return told
        return None

    def _copy(self, envelope: Envelope, about: QueuedMessage, message: Spool) -> Report:
        """The report itself, for the sender's mailbox."""
        shared = message.share()
        now = int(self._seconds())
        original = about.envelope.reverse_path
        new = Envelope(
            ConnectionInfo("report"),
            envelope.helo,
            Path("", ""),
            # RFC 3461 section 6.2: nobody reports about a report.
            recipients=[Recipient(original, {"NOTIFY": "NEVER"}, frozenset({"NEVER"}))],
            transaction_id=envelope.transaction_id,
            body=envelope.body,
            smtputf8=envelope.smtputf8,
        )
        return Report(
            NewMessage(new, now, now + LIFETIME, message_id=read_message_id(message)), shared
        )


def judge_complaint(report: FeedbackReport, now: int) -> Told | None:
    """What a complaint makes of a recipient; None for nothing."""
    if report.feedback_type == "not-spam":
        # RFC 6430: the contrary of a complaint.
        return None
    text = _printable(f"{report.feedback_type} report by {report.user_agent}")
    return Told(RecipientState.COMPLAINED, Attempt(now, 0.0, text=text, command="report"))


def judge_recipient(report: DeliveryReport, about: ReportedRecipient, now: int) -> Told | None:
    """What a report says of one recipient; None for what is no failure."""
    if about.action is not Action.FAILED:
        return None
    reply = _REPLY.match(about.diagnostic)
    attempt = Attempt(
        now,
        0.0,
        _printable(about.remote_mta or report.reporting_mta),
        code=int(reply[1]) if reply and about.diagnostic_type == "smtp" else 0,
        enhanced=about.status,
        text=_printable(about.diagnostic),
        command="report",
    )
    return Told(RecipientState.BOUNCED, attempt)


async def take_report(
    queue: IQueue,
    octets: bytes,
    now: int,
    tell: Callable[[QueuedMessage, QueuedRecipient, Update], None],
    *,
    sender: Path | None = None,
    paths: ReturnPaths | None = None,
    complaints_only: bool = False,
) -> int:
    """Put down what a report says that came to somebody else than return paths of our own.

    Messages are found by the Message-ID, or the ENVID where the header did not come back, and must
    agree in both where both sides know them; recipients by their addresses. That proves nothing:
    whoever has seen the message can write such a report.

    :param tell: is called for each recipient with what changed, once that is durable.
    :param sender: to whom the report came: only messages are meant that have this reverse-path.
    :param paths: what has return paths of these is left alone, for its reports come back by them.
    :param complaints_only: it came in a way in which no delivery status notification comes, so
        only a feedback report is taken.
    :returns: how many recipients changed their state.
    """
    report = parse_report(octets[:MAX_READ])
    if report is None or (complaints_only and not isinstance(report, FeedbackReport)):
        return 0
    told_of = _Verdicts(report, now)
    changes = []
    for message in await _find_reported(queue, report, sender):
        envid = message.envelope.envid
        if envid is not None and report.envelope_id not in (None, envid):
            continue
        if paths is not None and paths.applies(message.envelope):
            continue
        for recipient in message.recipients:
            told = told_of.find(recipient)
            if told is not None and recipient.state.final and recipient.state.allows(told.state):
                update = Update(recipient.id, told.state, attempt=told.attempt)
                changes.append((message, recipient, update))
    if changes:
        await queue.record(updates=[update for _, _, update in changes])
    for change in changes:
        tell(*change)
    return len(changes)


async def _find_reported(
    queue: IQueue, report: DeliveryReport | FeedbackReport, sender: Path | None
) -> Sequence[QueuedMessage]:
    """Messages that a report may be about."""
    found: Sequence[QueuedMessage] = ()
    if report.message_id is not None:
        found = await queue.find_messages(
            message_id=report.message_id, limit=MAX_MATCHES, sender=sender
        )
    elif report.envelope_id is not None:
        found = await queue.find_messages(
            envid=report.envelope_id, limit=MAX_MATCHES, sender=sender
        )
    return found


class _Verdicts:
    """What a report makes of recipients, by their addresses.

    Both may be thousands, so not each is compared with each.
    """

    def __init__(self, report: DeliveryReport | FeedbackReport, now: int) -> None:
        self._by_address: dict[str, Told | None] = {}
        if isinstance(report, FeedbackReport):
            told = judge_complaint(report, now)
            self._by_address = {address.lower(): told for address in report.recipients}
            return
        for about in report.recipients:
            told = judge_recipient(report, about, now)
            for each in (about.final, about.original):
                if told is not None and each is not None:
                    self._by_address.setdefault(each.address.lower(), told)

    def find(self, recipient: QueuedRecipient) -> Told | None:
        """For one recipient; None for nothing."""
        path, orcpt = recipient.recipient.path, recipient.recipient.orcpt
        told = self._by_address.get(str(path).lower())
        if told is None and orcpt is not None:
            told = self._by_address.get(orcpt.address.lower())
        return told


def _printable(text: str) -> str:
    return "".join(char for char in text[:MAX_TEXT] if char.isprintable())


def _split(address: str | None) -> Path:
    local, _, domain = (address or "").strip("<>").rpartition("@")
    return Path(local, domain)
