"""ENVELOPE and BODYSTRUCTURE from nested values (RFC 9051 section 7.5.2)."""

from __future__ import annotations

from typing import TypeAlias, Union

from mailkit.imap.client.values import BodyPart
from mailkit.imap.grammar import SyntaxFault
from mailkit.mime.addresses import Address
from mailkit.mime.envelope import MessageEnvelope

#: A string, a number, NIL or a list, as :meth:`~mailkit.imap.client.responses.Text.value` has it.
Value: TypeAlias = Union[bytes, int, "list[Value]", None]


def read_envelope(value: Value) -> MessageEnvelope:
    """
    :raises SyntaxFault: it is none.
    """
    fields = _list(value)
    if len(fields) < 10:
        raise SyntaxFault("An envelope has ten fields")
    author, sender, reply_to, to, cc, bcc = map(_addresses, fields[2:8])
    return MessageEnvelope(
        _string(fields[0]),
        _string(fields[1]),
        author,
        sender,
        reply_to,
        to,
        cc,
        bcc,
        _string(fields[8]),
        _string(fields[9]),
    )


def _addresses(value: Value) -> list[Address]:
    if not value:
        # lenient: some servers write () for NIL.
        return []
    found = []
    for each in _list(value):
        parts = _list(each)
        if len(parts) != 4:
            raise SyntaxFault("An address has four fields")
        found.append(Address(*map(_string, parts)))
    return found


def read_body(value: Value) -> BodyPart:
    """The structure of a message; its depth is bounded by that of the value.

    :raises SyntaxFault: it is none.
    """
    root = _part(_list(value))
    _number(root)
    return root


def _number(root: BodyPart) -> None:
    """Give the parts their sections (RFC 9051 section 6.4.5.1)."""
    if root.type != "multipart":
        root.section = "1"
    stack = [(root, root.section)]
    while stack:
        part, section = stack.pop()
        if part.type == "multipart":
            for number, child in enumerate(part.parts, 1):
                child.section = f"{section}.{number}" if section else str(number)
                stack.append((child, child.section))
            continue
        for child in part.parts:
            # A message in a message: its single part is .1, a multipart has no number of its own.
            child.section = section if child.type == "multipart" else f"{section}.1"
            stack.append((child, child.section))


def _part(fields: list[Value]) -> BodyPart:
    if fields and isinstance(fields[0], list):
        return _multipart(fields)
    if len(fields) < 7:
        raise SyntaxFault("A body has at least seven fields")
    kind, subtype = _word(fields[0]), _word(fields[1])
    part = BodyPart(
        kind,
        subtype,
        parameters=_parameters(fields[2]),
        content_id=_string(fields[3]),
        description=_string(fields[4]),
        encoding=_word(fields[5]),
        size=_count(fields[6]),
    )
    rest = fields[7:]
    if kind == "message" and len(rest) >= 3 and isinstance(rest[1], list):
        part.envelope = read_envelope(rest[0])
        part.parts = (_part(_list(rest[1])),)
        part.lines = _count(rest[2])
        rest = rest[3:]
    elif kind == "text" and rest:
        part.lines = _count(rest[0])
        rest = rest[1:]
    if rest:
        part.md5 = _string(rest[0])
        _extend(part, rest[1:])
    return part


def _multipart(fields: list[Value]) -> BodyPart:
    count = 0
    while count < len(fields) and isinstance(fields[count], list):
        count += 1
    if count == len(fields):
        raise SyntaxFault("A multipart has a subtype")
    children = tuple(_part(_list(each)) for each in fields[:count])
    part = BodyPart("multipart", _word(fields[count]), parts=children)
    rest = fields[count + 1 :]
    if rest:
        part.parameters = _parameters(rest[0])
        _extend(part, rest[1:])
    return part


def _extend(part: BodyPart, rest: list[Value]) -> None:
    """Disposition, language, location; what stands behind them is for future standards."""
    if rest and rest[0] is not None:
        disposition = _list(rest[0])
        if len(disposition) != 2:
            raise SyntaxFault("A disposition has two fields")
        part.disposition = _word(disposition[0])
        part.disposition_parameters = _parameters(disposition[1])
    if len(rest) > 1 and rest[1] is not None:
        tags = rest[1] if isinstance(rest[1], list) else [rest[1]]
        part.languages = tuple(_word(tag) for tag in tags)
    if len(rest) > 2:
        part.location = _string(rest[2])


def _parameters(value: Value) -> dict[str, bytes]:
    if value is None:
        return {}
    fields = _list(value)
    if len(fields) % 2:
        raise SyntaxFault("A parameter has a value")
    return {
        _word(name): _string(text) or b""
        for name, text in zip(fields[::2], fields[1::2], strict=True)
    }


def _list(value: Value) -> list[Value]:
    if not isinstance(value, list):
        raise SyntaxFault("A list is missing")
    return value


def _string(value: Value) -> bytes | None:
    if isinstance(value, int):
        # An atom of digits where a string belongs.
        return b"%d" % value
    if isinstance(value, list):
        raise SyntaxFault("A string is missing")
    return value


def _word(value: Value) -> str:
    return (_string(value) or b"").decode("utf-8", "replace").lower()


def _count(value: Value) -> int:
    if isinstance(value, int):
        return value
    # lenient: NIL where nobody has counted.
    if value is None:
        return 0
    raise SyntaxFault("A number is missing")
