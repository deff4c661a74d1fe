"""Header fields that a delivery reads, and the trace fields that it adds."""

from __future__ import annotations

import hashlib

from mailkit.mime import Header, message_id, parse_header
from mailkit.mime.headers import MAX_HEADER_OCTETS
from mailkit.model import Envelope, Path
from mailkit.spool import READ_BUFFER, Spool
from mailkit.wire.domains import canonical_domain


def read_header(message: Spool) -> Header:
    """The header of a message, which is not read further than that."""
    return parse_header(read_start(message))


def read_start(message: Spool) -> bytes:
    """The octets of a message among which its header is; perhaps all of them."""
    return message.read_start(MAX_HEADER_OCTETS)


def read_identity(envelope: Envelope, message: Spool) -> bytes | None:
    """What a message shares with its copies alone: Message-ID and Date; None without the first.

    Whoever changes a message that was refused, and sends it again, often keeps its Message-ID. A
    Date that this server has added does not count: it is another one when the message is repeated.
    Devices and cron jobs that give none may have one Message-ID for all messages, so where there
    is no Date of the sender's, a digest of the body stands in its place.

    :raises OSError: when the disk refuses.
    """
    header = read_header(message)
    found = message_id(header)
    if found is None:
        return None
    date = None if envelope.date_added else header.get(b"date")
    if date is None:
        return b"%b\0\0%b" % (found, _digest_body(message, header.body_start))
    return b"%b\0%b" % (found, date.strip())


def _digest_body(message: Spool, start: int) -> bytes:
    digest = hashlib.sha256()
    with message.open() as reader:
        reader.seek(start)
        while piece := reader.read(READ_BUFFER):
            digest.update(piece)
    return digest.digest()


def return_path(reverse_path: Path) -> bytes:
    """The field that says who gets the bounces (RFC 5321 section 4.4)."""
    return f"Return-Path: <{reverse_path}>\r\n".encode()


def delivered_to(recipient: Path) -> bytes:
    """The field that says whose mail it is (RFC 9228)."""
    return f"Delivered-To: {recipient}\r\n".encode()


def has_delivered_to(header: Header, recipient: Path) -> bool:
    """Whether the message has been delivered to that address before."""
    wanted = address_key(str(recipient)).encode()
    return any(
        address_key(value.decode("utf-8", "replace")).encode("utf-8", "replace") == wanted
        for value in header.get_all(b"delivered-to")
    )


def address_key(address: str) -> str:
    """Equal for addresses that differ in letter case alone."""
    local, at, domain = address.strip().strip("<>").rpartition("@")
    return f"{local.lower()}{at}{canonical_domain(domain)}"
