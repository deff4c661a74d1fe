"""Carrying out what hooks want to be changed in a message and its envelope."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from twisted.logger import Logger

from mailkit.errors import MailError
from mailkit.hooks import (
    AddHeader,
    AddRecipient,
    ChangeHeader,
    ChangeSender,
    Edit,
    RemoveRecipient,
    ReplaceBody,
)
from mailkit.interfaces import IMessageDelivery
from mailkit.mime.headers import parse_header
from mailkit.model import Envelope, Path, Recipient
from mailkit.spool import Spool
from mailkit.wire.domains import canonical_domain
from mailkit.wire.lineends import ToNetwork

#: Octets of a new body that are copied before other connections get their turn.
COPIED_AT_ONCE = 256 * 1024

_log = Logger()
_EMPTY_LINE_LAST = re.compile(rb"(?:\A|\n)\r?\n\Z")


def edit_header(header: bytes, edits: Iterable[AddHeader | ChangeHeader]) -> bytes:
    """Change header fields, one edit after the other; all other octets stay as they are.

    :param header: the fields and, if there is one, the empty line.
    """
    parsed = parse_header(header)
    fields = [(field.name.lower(), header[field.start : field.end]) for field in parsed]
    rest = header[sum(len(octets) for _, octets in fields) :]
    for edit in edits:
        name = edit.name.encode("ascii").lower()
        if isinstance(edit, AddHeader):
            position = len(fields) if edit.position is None else max(0, edit.position)
            fields.insert(position, (name, _field(edit.name, edit.value)))
            continue
        found = [index for index, (other, _) in enumerate(fields) if other.strip() == name]
        if edit.occurrence is not None:
            found = found[edit.occurrence - 1 : edit.occurrence] if edit.occurrence > 0 else []
        if edit.value is None:
            for index in reversed(found):
                del fields[index]
        elif found:
            for index in found:
                fields[index] = name, _field(edit.name, edit.value)
        else:
            fields.append((name, _field(edit.name, edit.value)))
    octets = [octets for _, octets in fields]
    for index, field in enumerate(octets):
        if not field.endswith(b"\n"):
            # The last line of a message without a body.
            octets[index] = field + b"\r\n"
    return b"".join(octets) + rest


def _field(name: str, value: str) -> bytes:
    return f"{name}: {value}\r\n".encode("utf-8", "surrogateescape")


def _same(path: Path, other: Path) -> bool:
    return path.local_part == other.local_part and (
        canonical_domain(path.domain) == canonical_domain(other.domain)
    )


async def edit_envelope(
    envelope: Envelope, delivery: IMessageDelivery, edits: Sequence[tuple[str, Edit]]
) -> None:
    """Change sender and recipients.

    An added recipient whom the delivery refuses for good is left out, and the log says so.

    :param edits: with the names of the hooks.
    :raises MailError: the delivery cannot say now whether an added recipient is good.
    """
    for hook, edit in edits:
        if isinstance(edit, ChangeSender):
            envelope.reverse_path = edit.path
        elif isinstance(edit, RemoveRecipient):
            kept = [r for r in envelope.recipients if not _same(r.path, edit.path)]
            envelope.recipients = kept
        elif isinstance(edit, AddRecipient):
            if any(_same(r.path, edit.path) for r in envelope.recipients):
                continue
            recipient = Recipient(edit.path, edit.parameters)
            try:
                await delivery.check_recipient(envelope=envelope, recipient=recipient)
            except MailError as error:
                if error.temporary:
                    raise
                _log.warn(
                    "message {id}: hook {hook} added <{path}>, who is refused: {text}",
                    id=envelope.transaction_id,
                    hook=hook,
                    path=edit.path,
                    text=error.text,
                )
            else:
                envelope.recipients.append(recipient)


async def edit_message(
    spool: Spool,
    header: bytes,
    edits: Sequence[Edit],
    new_spool: Callable[[], Spool],
    pause: Callable[[float], Coroutine[Any, Any, None]],
    *,
    binary: bool,
) -> Spool:
    """Change header fields and body.

    The lines of a new body end with CRLF then, whatever they end with now.

    :param header: the octets of ``spool`` up to the body.
    :param new_spool: makes the spool for another body.
    :param pause: lets others have their turn.
    :param binary: the body is no text, and has no lines.
    :returns: what holds the message now: ``spool``, or a new one.
    :raises OSError: when the disk refuses.
    """
    fields = [edit for edit in edits if isinstance(edit, (AddHeader, ChangeHeader))]
    new_header = edit_header(header, fields) if fields else header
    bodies = [edit.content for edit in edits if isinstance(edit, ReplaceBody)]
    if not bodies:
        if fields:
            spool.replace_head(len(header), new_header)
        return spool
    replaced = new_spool()
    try:
        replaced.write(new_header)
        if not _EMPTY_LINE_LAST.search(new_header):
            # There was no body before.
            replaced.write(b"\r\n")
        lines = ToNetwork()
        with bodies[-1].open() as file:
            while chunk := file.read(COPIED_AT_ONCE):
                replaced.write(chunk if binary else lines.convert(chunk))
                if len(chunk) == COPIED_AT_ONCE:
                    await pause(0)
    except BaseException:
        replaced.close()
        raise
    return replaced
