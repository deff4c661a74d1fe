"""A message as one milter after the other sees it. No I/O but reading its spool."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from mailkit.hooks import (
    AddHeader,
    AddRecipient,
    ChangeHeader,
    ChangeSender,
    Edit,
    RemoveRecipient,
)
from mailkit.milter import packets
from mailkit.milter.packets import MilterError
from mailkit.mime.headers import MAX_HEADER_OCTETS, parse_header
from mailkit.model import Path
from mailkit.spool import Spool

_LINE_END = re.compile(r"\r*\n")
_NO_FOLD = re.compile(r"\r\n(?![ \t])")
_QUOTED_PAIR = re.compile(r"\\(.)")
# RFC 5321 section 4.1.2, as far as it keeps an address from being two things.
_NOT_IN_ADDRESS = re.compile(r"[\x00-\x1f\x7f]")


class MilterMessage:
    """Header fields and body, with the changes that were made so far."""

    def __init__(self, content: Spool) -> None:
        self._content = content
        octets = content.read_start(MAX_HEADER_OCTETS)
        header = parse_header(octets)
        self._body_start = header.body_start
        #: Names, and values as they stand behind the colon, folds included.
        self.fields: list[tuple[bytes, bytes]] = []
        for field in header:
            name, _, value = octets[field.start : field.end].partition(b":")
            value = value.removesuffix(b"\n").removesuffix(b"\r")
            self.fields.append((name.rstrip(b" \t"), value))
        #: What milters have put in the place of the body; whoever answers with it gives it away.
        self.new_body: Spool | None = None
        self.edits: list[Edit] = []
        # Fields that milters have put above the Received field of ours, which is still to come.
        self._on_top = 0

    def open_body(self) -> BinaryIO:
        """The body from its beginning."""
        if self.new_body is not None:
            return self.new_body.open()
        file = self._content.open()
        file.seek(self._body_start)
        return file

    def close(self) -> None:
        """Give up a new body."""
        if self.new_body is not None:
            self.new_body.close()
            self.new_body = None

    def replace_body(self, content: Spool) -> None:
        """Let later milters see another body."""
        self.close()
        self.new_body = content

    def change(self, modification: packets.Modification) -> None:
        """Make a change, for later milters and as an edit of the message.

        :raises MilterError: it makes no sense.
        """
        try:
            self.edits.append(self._change(modification))
        except ValueError as error:
            raise MilterError(str(error)) from None

    def _change(self, modification: packets.Modification) -> Edit:
        if isinstance(modification, packets.AddField):
            place, name, value = modification
            value = clean_value(value)
            if place is not None:
                place = self._place(place)
            edit = AddHeader(name, value, place)
            place = len(self.fields) if place is None else min(place, len(self.fields))
            self.fields.insert(place, _field(name, value))
            return edit
        if isinstance(modification, packets.ChangeField):
            return self._change_field(modification)
        if isinstance(modification, packets.Sender):
            return ChangeSender(parse_path(modification.path))
        if isinstance(modification, packets.NewRecipient):
            parameters = dict(_parse_parameters(modification.parameters))
            return AddRecipient(_parse_recipient(modification.path), parameters)
        if isinstance(modification, packets.OldRecipient):
            return RemoveRecipient(_parse_recipient(modification.path))
        raise ValueError(f"{modification!r} is no edit")

    def _place(self, place: int) -> int:
        """Where a field goes that is to be inserted at a place as milters count it.

        Sendmail and Postfix count the Received field that they add, which milters do not see: 0 is
        above it, and 1, as OpenDKIM and rspamd have it, is the first of the others.
        """
        if place > self._on_top:
            return place - 1
        self._on_top += 1
        return place

    def _change_field(self, modification: packets.ChangeField) -> ChangeHeader:
        # Milters count from 1; some say 0 for the first.
        index, name, value = modification
        index = max(1, index)
        value = clean_value(value)
        edit = ChangeHeader(name, value or None, index)
        wanted = name.encode("ascii").lower()
        places = [n for n, (other, _) in enumerate(self.fields) if other.lower() == wanted]
        found = places[index - 1 : index]
        if found and value:
            self.fields[found[0]] = _field(name, value)
        elif found:
            del self.fields[found[0]]
        elif value and not places[index - 1 :]:
            self.fields.append(_field(name, value))
        return edit


def _field(name: str, value: str) -> tuple[bytes, bytes]:
    return name.encode("ascii"), f" {value}".encode("utf-8", "surrogateescape")


def clean_value(value: str) -> str:
    """The value of a field as an edit has it, from one with milters' line ends.

    One blank before it is that behind the colon.
    """
    value = _LINE_END.sub("\r\n", value.removeprefix(" ")).replace("\0", "")
    value = value.removesuffix("\r\n")
    return re.sub(r"\r(?!\n)", " ", _NO_FOLD.sub("\r\n\t", value))


def parse_path(octets: bytes) -> Path:
    """An address with or without angle brackets.

    :raises ValueError: it is none.
    """
    try:
        text = octets.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise ValueError("an address that is not UTF-8") from None
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1]
    if not text:
        return Path("", "")
    local, _, domain = text.rpartition("@") if "@" in text else (text, "", "")
    if len(local) > 1 and local.startswith('"') and local.endswith('"'):
        local = _QUOTED_PAIR.sub(r"\1", local[1:-1])
    elif re.search(r"[\s<>]", local):
        raise ValueError("bad address")
    if not local or _NOT_IN_ADDRESS.search(text) or re.search(r"[\s<>]", domain):
        raise ValueError("bad address")
    return Path(local, domain)


def _parse_recipient(octets: bytes) -> Path:
    path = parse_path(octets)
    if path.is_null:
        raise ValueError("a recipient without an address")
    return path


def _parse_parameters(octets: bytes) -> Iterator[tuple[str, str | None]]:
    for part in octets.decode("utf-8", "replace").split():
        keyword, equals, value = part.partition("=")
        yield keyword.upper(), value if equals else None
