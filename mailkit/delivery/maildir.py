"""Delivery into Maildirs, as mutt, Dovecot, Courier and others read them.

A message is written to ``tmp``, flushed, renamed into ``new``, and the directory is flushed, before
anybody is told that it is there. When one of these steps fails nothing is left that could be seen.
"""

from __future__ import annotations

import errno
import itertools
import os
import secrets
import socket
import stat
import time
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, BinaryIO

from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from zope.interface import implementer

from mailkit.delivery.fields import delivered_to, return_path
from mailkit.delivery.gate import Gate
from mailkit.errors import MailError, NoSuchRecipient, OverQuota, StoreFull, StoreUnavailable
from mailkit.interfaces import IDeliveryAbilities, IMessageDelivery
from mailkit.model import Ability, Envelope, Outcome, Path, Recipient
from mailkit.spool import Spool
from mailkit.wire.domains import canonical_domain

#: Messages that are written at the same time, and that wait for it.
MAX_WRITING = 4
MAX_WAITING = 1000
#: Octets of a name in a path.
MAX_COMPONENT = 255

# What is read and written at a time.
_CHUNK = 256 * 1024
# Controls, surrogates, and what Unicode has for ends of lines.
_CONTROLS = "Cc", "Cs", "Zl", "Zp"
_SUBDIRECTORIES = ("tmp", "new", "cur")


@implementer(IMessageDelivery, IDeliveryAbilities)
class MaildirDelivery:
    """Puts each message into the Maildir of each recipient.

    What was quarantined goes into the folder ``.Junk`` of a Maildir that has one (Maildir++). Files
    have LF as line ends, as everybody expects them, and Return-Path and Delivered-To on top.

    :param path: of a recipient's Maildir; ``%u`` stands for the local part in lower case, ``%d``
        for the domain, ``%%`` for a percent sign.
    :param create: make the Maildir of a recipient who has none, instead of refusing the recipient.
    :param separator: between user and detail of a sub-address, which has no Maildir of its own
        unless there is one; empty for none.
    :param reactor: Twisted's own when None.
    :param flush: makes a file or directory durable, given its descriptor.
    :raises ValueError: there is another percent sign in the path.
    """

    log = Logger()
    #: The message goes no further, and does not wait.
    abilities = frozenset((Ability.REQUIRETLS, Ability.DELIVERBY))

    def __init__(
        self,
        path: str,
        *,
        create: bool = False,
        separator: str = "+",
        reactor: Any = None,
        clock: IReactorTime | None = None,
        flush: Callable[[int], None] = os.fsync,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._parts = _parse_template(path)
        self._create = create
        self._separator = separator
        self._reactor = reactor
        self._seconds = time.time if clock is None else clock.seconds
        self._flush = flush
        self._gate = Gate(MAX_WRITING, MAX_WAITING)
        # Unlike those of any other object, process or machine.
        self._counter = itertools.count(1)
        self._token = secrets.token_hex(4)
        self._host = socket.gethostname().replace("/", "\\057").replace(":", "\\072")

    async def check_sender(self, envelope: Envelope) -> None:
        """Anybody may send."""

    async def check_recipient(self, envelope: Envelope, recipient: Recipient) -> None:
        await self._gate.run(lambda: self._in_thread(self._find, recipient.path))

    async def deliver(self, envelope: Envelope, message: Spool) -> Sequence[Outcome]:
        errors = await self._gate.run(
            lambda: self._in_thread(self._write_all, envelope, message, self._seconds())
        )
        return [
            Outcome(recipient, error)
            for recipient, error in zip(envelope.recipients, errors, strict=True)
        ]

    def _in_thread(self, function: Callable[..., Any], *arguments: object) -> Any:
        pool = self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, pool, function, *arguments)

    # In a thread.

    def _find(self, path: Path) -> str:
        """The Maildir of a recipient; it need not exist where it would be made.

        :raises NoSuchRecipient: there is none.
        :raises StoreUnavailable: nobody has any, or one can't be looked at.
        """
        local = unicodedata.normalize("NFC", path.local_part.lower())
        domain = canonical_domain(path.domain)
        if any(unicodedata.category(each) in _CONTROLS for each in local):
            # No legal local part, nor one of what is written on top of the message.
            raise NoSuchRecipient("An address of that kind gets no mail here")
        user = local.partition(self._separator)[0] if self._separator else local
        names = dict.fromkeys((local, user or local))
        if not _is_component(local):
            # RFC 5233 section 4: a detail may be anything that a local part may be.
            del names[local]
        for name in names or (local,):
            directory = self._fill(name, domain)
            if _exists(os.path.join(directory, "new")):
                return directory
        if self._create:
            return directory
        if not _exists(os.path.dirname(self._parts[0])):
            # A disk that is not there must not bounce everybody's mail.
            raise StoreUnavailable
        raise NoSuchRecipient

    def _fill(self, local: str, domain: str) -> str:
        values = {"u": local, "d": domain}
        for letter in values.keys() & self._parts[1::2]:
            if not _is_component(values[letter]):
                raise NoSuchRecipient("An address of that kind gets no mail here")
        return "".join(
            values[part] if index % 2 else part for index, part in enumerate(self._parts)
        )

    def _write_all(self, envelope: Envelope, message: Spool, now: float) -> list[MailError | None]:
        """What became of each recipient."""
        errors: list[MailError | None] = []
        for recipient in envelope.recipients:
            try:
                directory = self._find(recipient.path)
                head = return_path(envelope.reverse_path)
                if recipient.path.domain:
                    head += delivered_to(recipient.path)
                junk = os.path.join(directory, ".Junk")
                if envelope.quarantine is not None and _exists(os.path.join(junk, "new")):
                    directory = junk
                self._write(directory, head, message, now)
            except MailError as error:
                errors.append(error)
            except OSError as error:
                self.log.error(
                    "message {id} cannot be written for {recipient}: {error}",
                    id=envelope.transaction_id,
                    recipient=recipient.path,
                    error=error,
                )
                errors.append(_refusal(error))
            else:
                errors.append(None)
        return errors

    def _write(self, directory: str, head: bytes, message: Spool, now: float) -> None:
        """Write one file.

        :raises OSError: when the disk refuses; there is no file then.
        """
        if self._create:
            self._make(directory)
        seconds, microseconds = divmod(int(now * 1_000_000), 1_000_000)
        name = (
            f"{seconds}.M{microseconds:06}P{os.getpid()}Q{next(self._counter)}R{self._token}"
            f".{self._host}"
        )
        temporary = os.path.join(directory, "tmp", name)
        made = temporary
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                size = len(head) + message.size
                with message.open() as source:
                    _copy(head, source, out)
                out.flush()
                written = out.tell()
                self._flush(out.fileno())
            # As Dovecot has it: S is the file's size, W the message's with CRLF.
            final = os.path.join(directory, "new", f"{name},S={written},W={size}")
            os.rename(temporary, final)
            made = final
            self._flush_directory(os.path.join(directory, "new"))
        except BaseException:
            with suppress(OSError):
                os.unlink(made)
            raise

    def _make(self, directory: str) -> None:
        """Make a Maildir that is missing, and whatever is above it."""
        for name in _SUBDIRECTORIES:
            path = os.path.join(directory, name)
            missing = []
            while not os.path.isdir(path):
                missing.append(path)
                path = os.path.dirname(path)
            for path in reversed(missing):
                # Somebody else may be faster.
                with suppress(FileExistsError):
                    os.mkdir(path, 0o700)
                self._flush_directory(os.path.dirname(path))

    def _flush_directory(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            self._flush(descriptor)
        finally:
            os.close(descriptor)


def _parse_template(path: str) -> list[str]:
    """Text and letters in turn, beginning with text."""
    parts = [""]
    pieces = iter(path.split("%"))
    parts[-1] += next(pieces)
    for piece in pieces:
        if not piece and (following := next(pieces, None)) is not None:
            parts[-1] += "%" + following
        elif piece[:1] in ("u", "d"):
            parts += [piece[0], piece[1:]]
        else:
            raise ValueError(f"%{piece[:1]} means nothing in a path; there are %u, %d and %%")
    if not os.path.isabs(parts[0]):
        raise ValueError(f"the path of Maildirs must begin with /: {path!r}")
    return parts


def _is_component(name: str) -> bool:
    """Whether it may be the name of a directory: it comes from a stranger."""
    try:
        octets = os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return (
        0 < len(octets) <= MAX_COMPONENT
        and not name.startswith(".")
        and name.isprintable()
        and "/" not in name
    )


def _exists(directory: str) -> bool:
    """:raises StoreUnavailable: who knows."""
    try:
        return stat.S_ISDIR(os.stat(directory).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StoreUnavailable from error


def _copy(head: bytes, source: BinaryIO, out: BinaryIO) -> None:
    """Write a message with LF as line ends."""
    out.write(head.replace(b"\r\n", b"\n"))
    held = b""
    while chunk := source.read(_CHUNK):
        chunk = held + chunk
        # The other half of a line end may be in the next chunk.
        held = b"\r" if chunk.endswith(b"\r") else b""
        out.write(chunk[: len(chunk) - len(held)].replace(b"\r\n", b"\n"))
    out.write(held)


def _refusal(error: OSError) -> MailError:
    """What the sender is told."""
    if error.errno == errno.EDQUOT:
        return OverQuota()
    if error.errno in (errno.ENOSPC, errno.EFBIG):
        return StoreFull()
    return StoreUnavailable()
