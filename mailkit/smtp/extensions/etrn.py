"""ETRN (RFC 1985): a client asks for the mail that waits for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailkit.errors import MailError, PermissionDenied
from mailkit.interfaces import IQueueStarter
from mailkit.model import Ability
from mailkit.smtp import handlers
from mailkit.smtp.extensions.extension import Extension, Promised
from mailkit.smtp.grammar import Refused, Reply
from mailkit.smtp.handlers import Command
from mailkit.smtp.state import GREETED

if TYPE_CHECKING:
    from mailkit.smtp.protocol import SMTPProtocol

# RFC 1985 section 5: a domain of more than one label, or #queue.
_NODE = re.compile(rb"@?(?:[A-Za-z0-9-]+\.)+[A-Za-z0-9-]+|#[!-~]+")


async def etrn(connection: SMTPProtocol, argument: bytes) -> None:
    """ETRN (RFC 1985 section 5)."""
    if not argument:
        raise Refused(500, "5.5.4", "Syntax: ETRN [@]domain, or ETRN #queue")
    if not _NODE.fullmatch(argument) or len(argument) > connection.factory.limits.domain:
        raise Refused(501, "5.5.4", "Syntax: ETRN [@]domain, or ETRN #queue")
    node = argument.decode("ascii")
    account = connection.session.account
    if not connection.factory.extensions.etrn.allows(account):
        raise Refused(459, "4.7.0", f"Node {node} not allowed: you may not ask for mail here")
    delivery = connection.delivery or await connection.log_in_anonymously()
    if not IQueueStarter.providedBy(delivery):
        raise Refused(*handlers.COMMAND_NOT_IMPLEMENTED)
    try:
        waiting = await delivery.start_queue(node=node, account=account)
    except PermissionDenied as error:
        raise Refused(459, "4.7.0", f"Node {node} not allowed: {error.text}") from error
    except MailError as error:
        raise Refused(458, "4.3.0", f"Unable to queue messages for node {node}") from error
    connection.reply(_started(node, waiting))


def _started(node: str, waiting: int | None) -> Reply:
    if waiting is None:
        return Reply(250, "2.0.0", f"OK, queuing for node {node} started")
    if not waiting:
        return Reply(251, "2.0.0", f"OK, no messages waiting for node {node}")
    return Reply(253, "2.0.0", f"OK, {waiting} pending messages for node {node} started")


def _is_allowed(connection: SMTPProtocol) -> bool:
    return connection.factory.extensions.etrn.allows(connection.session.account)


ETRN = Extension(
    "ETRN",
    available=Promised(Ability.START_QUEUE, _is_allowed),
    commands={b"ETRN": Command(GREETED, etrn, "ETRN [@]domain")},
)
