"""The ENVELOPE of IMAP (RFC 3501 section 7.4.2), as a value and ready to send."""

from __future__ import annotations

from typing import NamedTuple

from mailkit.mime.addresses import Address, parse_addresses
from mailkit.mime.headers import Header, Octets, parse_header
from mailkit.mime.nstring import imap_string


class MessageEnvelope(NamedTuple):
    """What a header says about a message: octets unfolded but not decoded.

    Strings are None where the field is missing, lists are empty where it is missing or empty.
    """

    date: bytes | None
    subject: bytes | None
    #: The ``From`` field.
    from_: list[Address]
    #: As ``from_`` unless the header has its own.
    sender: list[Address]
    #: As ``from_`` unless the header has its own.
    reply_to: list[Address]
    to: list[Address]
    cc: list[Address]
    bcc: list[Address]
    in_reply_to: bytes | None
    message_id: bytes | None


def _addresses(header: Header, name: bytes) -> list[Address]:
    """The addresses of the first field of a name."""
    value = header.get(name)
    return parse_addresses(value) if value else []


def _destinations(header: Header, name: bytes) -> list[Address]:
    """The addresses of all fields of a name."""
    # RFC 5322 section 4.5.3: several destination fields count as one.
    if header.repeated(name):
        return parse_addresses(b",".join(header.get_all(name)))
    value = header.get(name)
    return parse_addresses(value) if value else []


def read_envelope(header: Header) -> MessageEnvelope:
    """Take the envelope out of a header."""
    get = header.get
    author = _addresses(header, b"from")
    return MessageEnvelope(
        get(b"date"),
        get(b"subject"),
        author,
        # RFC 3501 section 7.4.2: absent or empty Sender and Reply-To are the same as From.
        _addresses(header, b"sender") or author,
        _addresses(header, b"reply-to") or author,
        _destinations(header, b"to"),
        _destinations(header, b"cc"),
        _destinations(header, b"bcc"),
        get(b"in-reply-to"),
        get(b"message-id"),
    )


def _address_list(addresses: list[Address]) -> bytes:
    """Render ``"(" 1*address ")" / nil``."""
    if not addresses:
        return b"NIL"
    return b"(%b)" % b"".join(
        [
            b"(%b %b %b %b)"
            % (imap_string(name), imap_string(route), imap_string(local), imap_string(domain))
            for name, route, local, domain in addresses
        ]
    )


def render_envelope(envelope: MessageEnvelope) -> bytes:
    """The ENVELOPE value, parentheses included."""
    date, subject, from_, sender, reply_to, to, cc, bcc, in_reply_to, message_id = envelope
    author = _address_list(from_)
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        imap_string(date),
        imap_string(subject),
        author,
        author if sender is from_ else _address_list(sender),
        author if reply_to is from_ else _address_list(reply_to),
        _address_list(to),
        _address_list(cc),
        _address_list(bcc),
        imap_string(in_reply_to),
        imap_string(message_id),
    )


def envelope_octets(data: Octets, header: Header | None = None) -> bytes:
    """The ENVELOPE value of a message, ready to send, parentheses included.

    :param header: the message's header; read from the start of ``data`` if not given.
    """
    return render_envelope(read_envelope(parse_header(data) if header is None else header))
