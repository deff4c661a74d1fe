"""What the queue knows of a message, as values for programs and in words for people."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator, Sequence
from typing import Any

from mailkit.model import Envelope
from mailkit.queue.values import Attempt, QueuedMessage, QueuedRecipient, RecipientState

_STATES = {
    RecipientState.QUEUED: "waits for its first attempt",
    RecipientState.SCHEDULED: "is not to be sent yet",
    RecipientState.ATTEMPTING: "is being handed over",
    RecipientState.DEFERRED: "could not be delivered yet, and is tried again",
    RecipientState.HELD: "is held until somebody releases it",
    RecipientState.DELIVERED: "was delivered: the next server has taken it",
    RecipientState.FAILED: "was refused for good",
    RecipientState.EXPIRED: "was given up, as there was no success in all its time",
    RecipientState.CANCELLED: "was called off",
    RecipientState.BOUNCED: "was taken by the next server, and came back later",
    RecipientState.COMPLAINED: "was delivered, and somebody has complained about it",
}


def printable(text: str) -> str:
    """Text that does not steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in text)


def show_date(seconds: int) -> str:
    """A time for people, by the clock of this machine."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def waits_for_time(recipient: QueuedRecipient) -> bool:
    """There will be an attempt, and none is under way."""
    return recipient.state.waits and recipient.state is not RecipientState.ATTEMPTING


def iso_date(seconds: int) -> str:
    """A time for programs."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.isoformat().replace("+00:00", "Z")


# For programs.


def attempt_values(attempt: Attempt) -> dict[str, Any]:
    """An attempt, for JSON."""
    return {**attempt._asdict(), "time": iso_date(attempt.time)}


def queued_values(
    message: QueuedMessage, attempts: Sequence[tuple[int, Attempt]] = ()
) -> dict[str, Any]:
    """A queued message, for JSON.

    :param attempts: with their recipients' ids.
    """
    envelope = message.envelope
    connection = envelope.connection
    return {
        "id": message.id,
        "message_id": message.message_id or None,
        "transaction_id": envelope.transaction_id,
        "size": message.size,
        "queued": iso_date(message.created),
        "expires": iso_date(message.expires),
        "sender": str(envelope.reverse_path),
        "account": envelope.account,
        "trusted": envelope.trusted,
        "envelope_id": envelope.envid,
        "protocol": connection.protocol,
        "client": connection.peer,
        "helo": envelope.helo,
        "tls": connection.tls,
        "quarantine": envelope.quarantine,
        "hooks": [record._asdict() for record in envelope.history],
        "recipients": [
            _recipient_values(each, [tried for id, tried in attempts if id == each.id])
            for each in message.recipients
        ],
    }


def _recipient_values(recipient: QueuedRecipient, attempts: Sequence[Attempt]) -> dict[str, Any]:
    orcpt = recipient.recipient.orcpt
    return {
        "address": str(recipient.recipient.path),
        "original": None if orcpt is None else orcpt.address,
        "domain": recipient.domain,
        "state": recipient.state.value,
        "next_attempt": iso_date(recipient.next_time) if waits_for_time(recipient) else None,
        "attempts": [attempt_values(each) for each in attempts],
    }


# For people.


def tell_queued(message: QueuedMessage, attempts: Sequence[tuple[int, Attempt]]) -> Iterator[str]:
    """The story of a queued message, line by line."""
    envelope = message.envelope
    came = f"It came on {show_date(message.created)}"
    if envelope.connection.protocol:
        came += f" by {envelope.connection.protocol}"
    if envelope.connection.peer:
        over = "over TLS" if envelope.connection.tls else "without TLS"
        came += f" from {envelope.connection.peer} ({printable(envelope.helo)}) {over}"
    yield f"In the queue it is {message.id}, with {message.size} octets."
    yield f"{came}; the log calls it {envelope.transaction_id or 'nothing'}."
    yield f"Its sender is <{envelope.reverse_path}>, {_tell_trust(envelope)}."
    if envelope.quarantine:
        yield f"It is suspect: {printable(envelope.quarantine)}."
    for record in envelope.history:
        reason = f": {printable(record.reason)}" if record.reason else ""
        yield (
            f"Asked at {record.step}, {record.hook} said {record.answer} after"
            f" {record.seconds * 1000:.1f} ms{reason}."
        )
    for recipient in message.recipients:
        yield from _tell_recipient(
            message, recipient, [tried for id, tried in attempts if id == recipient.id]
        )


def _tell_trust(envelope: Envelope) -> str:
    """Why the sender is believed."""
    if envelope.trusted:
        return "as a client says that may send without a login (--relay-from)"
    if envelope.connection.protocol == "report":
        return "for this server has written it"
    if not envelope.account:
        return "not logged in"
    if envelope.connection.protocol == "local":
        return f"and a program has submitted it for {envelope.account}"
    return f"logged in as {envelope.account}"


def _tell_recipient(
    message: QueuedMessage, recipient: QueuedRecipient, attempts: Sequence[Attempt]
) -> Iterator[str]:
    line = f"For <{recipient.recipient.path}> it {_STATES[recipient.state]}"
    orcpt = recipient.recipient.orcpt
    if orcpt is not None and orcpt.address != str(recipient.recipient.path):
        line += f" (the sender wrote to {printable(orcpt.address)})"
    if waits_for_time(recipient):
        line += (
            f"; next attempt {show_date(recipient.next_time)}, given up"
            f" {show_date(message.expires)}"
        )
    yield line + "."
    for attempt in attempts:
        yield f"  {describe_attempt(attempt)}"


def describe_attempt(attempt: Attempt) -> str:
    """An attempt, in a line."""
    where = f"{attempt.host} {attempt.address}".strip() or "nowhere"
    words = printable(" ".join(attempt.text.split()))
    said = f"{attempt.code or ''} {attempt.enhanced} {words}".split()
    if attempt.command == "report":
        return f"{show_date(attempt.time)} report from {where}: {' '.join(said)}"
    tls = attempt.tls or "no TLS"
    if attempt.security:
        tls += f" ({printable(attempt.security)})"
    if attempt.passed_over:
        where += f" (not {printable(attempt.passed_over)})"
    if attempt.route:
        where += f" by {printable(attempt.route)}"
    when = f"{attempt.command} after {attempt.seconds:.1f} s".strip()
    return f"{show_date(attempt.time)} {where}, {tls}, {when}: {' '.join(said)}"
