"""CONVERTED and CONVERSION responses (RFC 5259). No I/O."""

from __future__ import annotations

import re

from mailkit.imap.client.body import read_body
from mailkit.imap.client.errors import too_large
from mailkit.imap.client.text import Text
from mailkit.imap.client.values import Conversion, ConversionFailed, Converted

_ITEM = re.compile(rb"[A-Z.]+(?:\[[^\]\r\n]*\](?:<\d+>)?)?", re.IGNORECASE)
_ERROR = re.compile(rb"\(ERROR ", re.IGNORECASE)


def read_converted(text: Text, number: int) -> Converted:
    """``(TAG "a") (UID 9 BINARY[1] {3}...)``, behind the name of the response."""
    converted = Converted(number)

    def correlator() -> None:
        name = text.word("What it belongs to")
        text.space()
        if name == b"TAG":
            converted.tag = text.any_string()
        else:
            text.value()

    text.in_parentheses(correlator)
    text.space()
    text.in_parentheses(lambda: _read_item(text, converted))
    return converted


def _read_item(text: Text, converted: Converted) -> None:
    name = text.match(_ITEM, "An item that is converted").upper().decode("ascii")
    text.space()
    kind = name.partition("[")[0]
    if kind == "UID":
        converted.uid = text.nonzero_number()
    elif _ERROR.match(text.data, text.position):
        converted.failures[name] = _read_failure(text)
    elif kind in ("BINARY", "BODY"):
        if len(converted.sections) >= text.limits.sections:
            raise too_large("too many sections", "sections")
        converted.sections[name] = text.content()
    elif kind == "BINARY.SIZE":
        converted.sizes[name] = text.number64()
    elif kind == "BODYPARTSTRUCTURE":
        converted.structures[name] = read_body(text.value())
    else:
        start = text.position
        text.value()
        converted.others[name] = text.data[start : text.position]


def _read_failure(text: Text) -> ConversionFailed:
    """``(ERROR "reason" BADPARAMETERS "text/html" "text/plain" ("charset" "x"))`` (section 9)."""
    text.expect(b"(")
    text.word("ERROR")
    text.space()
    reason = text.decoded() or ""
    code = ""
    if text.accept(b" "):
        code = text.word("An error").decode("ascii")
    while text.accept(b" "):
        text.value()
    text.expect(b")")
    return ConversionFailed(reason, code)


def read_conversion(text: Text) -> Conversion:
    """``"text/html" "text/plain" ("charset")`` (section 5)."""
    text.space()
    source = text.any_string().decode("utf-8", "replace").lower()
    text.space()
    target = text.any_string().decode("utf-8", "replace").lower()
    names: list[str] = []

    def parameter() -> None:
        names.append(text.any_string().decode("utf-8", "replace").lower())

    if text.accept(b" ") and not text.at_end():
        text.in_parentheses(parameter)
    return Conversion(source, target, tuple(names))
