"""The ENVELOPE of IMAP (RFC 3501 section 7.4.2), as a value and ready to send."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mailkit.mime.addresses import COMMON_ADDRESS, Address, parse_addresses
from mailkit.mime.headers import Header, Octets, parse_header, unfold
from mailkit.mime.nstring import MAX_QUOTED, imap_string

# Looked for as a number, as in headers.py.
_LF = 0x0A

_FIELDS = (
    b"date",
    b"subject",
    b"from",
    b"sender",
    b"reply-to",
    b"to",
    b"cc",
    b"bcc",
    b"in-reply-to",
    b"message-id",
)
# RFC 5322 section 4.5.3: several destination fields count as one. Where they are among the others.
_DESTINATIONS = [(_FIELDS.index(name), name) for name in (b"to", b"cc", b"bcc")]


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


def _address_list(addresses: list[Address], empty: bytes = b"NIL") -> bytes:
    """Render ``"(" 1*address ")" / nil``."""
    if not addresses:
        return empty
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
    if header is None:
        header = parse_header(data)
    # The same as render_envelope(read_envelope(header)), without objects in between.
    values = header.get_first(_FIELDS)
    for place, name in _DESTINATIONS:
        if values[place] is not None and header.repeated(name):
            values[place] = b",".join(header.get_all(name))
    return _render_values(values)


def summarize_header(header: Header, names: frozenset[bytes]) -> tuple[bytes, bytes]:
    """The ENVELOPE value, and the raw octets of some fields: both in one look at the header.

    :param names: of fields in lower case, those of ENVELOPE among them.
    """
    fields = header.find(names)
    if fields is None:
        return envelope_octets(b"", header), header.raw_fields(names, blank_line=False)
    return summarize_fields(fields)


def summarize_fields(fields: Sequence[tuple[bytes, bytes, bytes]]) -> tuple[bytes, bytes]:
    """The ENVELOPE value, and the raw octets of all these fields.

    :param fields: as :meth:`Header.find` gives them, those of ENVELOPE among them.
    """
    # The first one of each name counts.
    found = {name.lower(): value for name, _, value in reversed(fields)}
    values: list[bytes | None] = []
    for name in _FIELDS:
        raw = found.get(name)
        if raw is not None:
            if _LF in raw:
                raw = raw.replace(b"\r\n", b"").replace(b"\n", b"")
            raw = raw.strip()
        values.append(raw)
    if len(found) < len(fields):
        for place, name in _DESTINATIONS:
            same = [unfold(value) for each, _, value in fields if each.lower() == name]
            if len(same) > 1:
                values[place] = b",".join(same)
    return _render_values(values), b"\n".join([*map(b"".join, fields), b""])


def _render_values(values: Sequence[bytes | None]) -> bytes:
    """The ENVELOPE value from the unfolded values of :data:`_FIELDS`."""
    date, subject, from_, sender, reply_to, to, cc, bcc, in_reply_to, message_id = values
    author = _field_octets(from_)
    return b"(%b %b %b %b %b %b %b %b %b %b)" % (
        imap_string(date),
        imap_string(subject),
        author,
        author if sender is None else _field_octets(sender, author),
        author if reply_to is None else _field_octets(reply_to, author),
        b"NIL" if to is None else _field_octets(to),
        b"NIL" if cc is None else _field_octets(cc),
        b"NIL" if bcc is None else _field_octets(bcc),
        imap_string(in_reply_to),
        imap_string(message_id),
    )


def _field_octets(value: bytes | None, empty: bytes = b"NIL") -> bytes:
    """Render the addresses of a field.

    :param empty: what stands for none.
    """
    if not value:
        return empty
    if len(value) > MAX_QUOTED or not value.isascii() or 0x0D in value or 0 in value:
        return _address_list(parse_addresses(value), empty)
    # No octet in it, quotes and what they escape apart, needs a second look.
    rendered = []
    position, end = 0, len(value)
    match = COMMON_ADDRESS.match
    while position < end:
        common = match(value, position)
        if common is None:
            return _address_list(parse_addresses(value), empty)
        quoted, phrase, _, local, domain = common.groups()
        name = quoted or (phrase and b" ".join(phrase.split()))
        if name:
            rendered.append(b'("%b" NIL "%b" "%b")' % (name, local, domain))
        else:
            rendered.append(b'(NIL NIL "%b" "%b")' % (local, domain))
        position = common.end()
    return b"(%b)" % b"".join(rendered)
