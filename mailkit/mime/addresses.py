"""Address lists (RFC 5322 section 3.4), as the ENVELOPE of IMAP models them.

Obsolete forms are read too: routes, blanks around dots, empty list members. lenient, since the
message is stored already: a semicolon outside a group parts addresses like a comma, an angle
bracket or quote without its partner is passed over, words before an address without angle
brackets are its display name.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mailkit.mime.lexical import unescape

#: Addresses of one field that are read; the others are ignored.
MAX_ADDRESSES = 10_000
#: Octets of one field that are read, up to a comma.
MAX_ADDRESS_OCTETS = 256 * 1024
#: Words and special characters of one field that are read, once it has an uncommon form.
MAX_ADDRESS_TOKENS = 50_000

# RFC 5322 section 3.2.3 and RFC 6532 section 3.2: atext.
_ATEXT = rb"A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-"
#: The forms that nearly all addresses have; anything else goes to the tokens below. Groups: quoted
#: name, plain name, angle bracket, local part, domain.
COMMON_ADDRESS = re.compile(
    rb'(?:(?:"([^"\\]*)"[ \t]*|([%b. \t]*))(<))?([%b.]+)@([%b.]+)(?(3)>)[ \t]*(?:,[ \t]*|\Z)'
    % (_ATEXT, _ATEXT, _ATEXT)
)
_QUOTED = rb'(?P<quoted>"[^"\\]*(?:\\.[^"\\]*)*")|'
_OTHERS = rb"(?P<space>[\s\0]+)|(?P<atom>[%b]+)|(?P<literal>\[[^\[\]\\]*\])|(?P<special>.)" % _ATEXT
_TOKEN = re.compile(_QUOTED + _OTHERS, re.DOTALL)
_UNQUOTED_TOKEN = re.compile(_OTHERS, re.DOTALL)
_DOT_ATOM = re.compile(rb"[%b]+(?:\.[%b]+)*" % (_ATEXT, _ATEXT))
_PAREN = re.compile(rb"[()\\]")


class Address(NamedTuple):
    """A mailbox, or the start or the end of a group (RFC 3501 section 7.4.2).

    A group begins with an entry that has a local part (the group's name) and no domain, and ends
    with one that has neither. A mailbox without a domain has an empty one.
    """

    #: Without its quotes, encoded words as they stand.
    display_name: bytes | None
    #: The source route, ``@a,@b``.
    route: bytes | None
    #: Without its quotes.
    local_part: bytes | None
    domain: bytes | None

    @property
    def is_mailbox(self) -> bool:
        """False for the two ends of a group."""
        return self.domain is not None

    @property
    def addr_spec(self) -> str:
        """``local@domain``, quoted where it must be; empty for the ends of a group."""
        if self.domain is None:
            return ""
        local = self.local_part or b""
        if _DOT_ATOM.fullmatch(local) is None:
            local = b'"%b"' % local.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        text = local.decode("utf-8", "replace")
        return f"{text}@{self.domain.decode('utf-8', 'replace')}" if self.domain else text


_GROUP_END = Address(None, None, None, None)


class _Word(NamedTuple):
    """A token that may be part of a phrase or an address."""

    #: ``atom``, ``quoted``, ``literal`` or the special character itself.
    kind: str
    text: bytes
    #: White space or a comment stood before it.
    spaced: bool


def parse_addresses(value: bytes, limit: int = MAX_ADDRESSES) -> list[Address]:
    """Read an (unfolded) address list.

    :param limit: addresses that are returned at most.
    """
    if len(value) > MAX_ADDRESS_OCTETS:
        value = value[: max(value.rfind(b",", 0, MAX_ADDRESS_OCTETS), 0)]
    value = value.strip()
    found: list[Address] = []
    position = 0
    end = len(value)
    match = COMMON_ADDRESS.match
    while position < end and len(found) < limit:
        common = match(value, position)
        if common is None:
            return _Parser(value, position, found, limit).parse()
        found.append(common_address(common))
        position = common.end()
    return found


def common_address(found: re.Match[bytes]) -> Address:
    """What :data:`COMMON_ADDRESS` has found."""
    quoted, phrase, _, local, domain = found.groups()
    name = quoted if phrase is None else b" ".join(phrase.split())
    return Address(name or None, None, local, domain)


class _Parser:
    """Reads whatever an address list may hold, token by token."""

    def __init__(self, value: bytes, position: int, found: list[Address], limit: int) -> None:
        self.value = value
        self.position = position
        self.found = found
        self.limit = limit
        self.in_group = False
        #: The list member has had its angle brackets.
        self.after_angle = False
        # A quote or parenthesis without its partner: no other one is looked for, or the time
        # would grow with the square of the octets.
        self.token = _TOKEN
        self.comments = True
        self._clear()

    def _clear(self) -> None:
        """Forget what an address was being read from."""
        self.words: list[_Word] = []
        self.angle: list[_Word] | None = None
        self.comment: bytes | None = None
        self.at = False
        self.in_route = False

    def parse(self) -> list[Address]:
        """Read to the end."""
        spaced = False
        for _ in range(MAX_ADDRESS_TOKENS):
            token = self.token.match(self.value, self.position)
            if token is None or len(self.found) >= self.limit:
                break
            self.position = token.end()
            kind, text = token.lastgroup or "", token.group()
            if kind == "space":
                spaced = True
                continue
            if kind != "special":
                self._add(kind, text, spaced)
            elif text == b"(" and self.comments and self._read_comment():
                spaced = True
                continue
            else:
                self._special(text, spaced)
            # Specials that are no part of a word part words.
            spaced = kind == "special" and text not in (b".", b"@")
        else:
            self._clear()  # Too long: the last one may be cut.
        self._flush()
        if self.in_group:
            self._append(_GROUP_END)
        return self.found

    def _read_comment(self) -> bool:
        """Take a comment whose parenthesis was just read; False if it has no end."""
        depth = 1
        start = position = self.position
        while mark := _PAREN.search(self.value, position):
            position = mark.end()
            octet = mark.group()
            if octet == b"\\":
                position += 1
            elif octet == b"(":
                depth += 1
            else:
                depth -= 1
                if not depth:
                    self.comment = unescape(self.value[start : position - 1]).strip()
                    self.position = position
                    return True
        self.comments = False
        return False

    def _add(self, kind: str, text: bytes, spaced: bool) -> None:
        """Keep a word for the address that is being read."""
        if self.angle is None:
            self.words.append(_Word(kind, text, spaced))
        else:
            self.angle.append(_Word(kind, text, spaced))

    def _special(self, text: bytes, spaced: bool) -> None:
        """Act on a special character."""
        match text:
            case b",":
                # RFC 5322 section 4.4: a route may have commas.
                if self.in_route:
                    self._add(",", text, spaced)
                else:
                    self._flush()
            case b";":
                self._flush()
                if self.in_group:
                    self._append(_GROUP_END)
                    self.in_group = False
            case b":" if self.angle is None:
                self._start_group()
            case b":" if self.in_route:
                self._add(":", text, spaced)
                self.in_route = False
            case b":":
                self.angle = []  # <mailto:joe@example.org>
            case b"<" if self.angle is None:
                self.angle = []
            case b">" if self.angle is not None:
                self._finish_angle()
                self.after_angle = True
            case b'"':
                self.token = _UNQUOTED_TOKEN
            case b"@":
                self.at = True
                self.in_route = self.in_route or self.angle == []
                self._add("@", text, spaced)
            case b".":
                self._add(".", text, spaced)

    def _start_group(self) -> None:
        """The words so far are the name of a group, if they can be."""
        if self.words and not self.in_group and not self.at:
            self._append(Address(None, None, _phrase(self.words), None))
            self.in_group = True
            self.after_angle = False

    def _append(self, address: Address) -> None:
        if len(self.found) < self.limit:
            self.found.append(address)
        self._clear()

    def _finish_angle(self) -> None:
        """An address in angle brackets is complete."""
        words = self.angle or []
        route = None
        colon = _last(words, ":")
        if colon is not None:
            route = b"".join(word.text for word in words[:colon])
            words = words[colon + 1 :]
        before, local, domain = _split_spec(words)
        name = _phrase(self.words) or _phrase(before) or self.comment or None
        self._append(Address(name, route, local, domain))

    def _flush(self) -> None:
        """A list member ends."""
        if self.angle is not None:
            self._finish_angle()
        elif self.words:
            self._flush_bare()
        self._clear()
        self.after_angle = False

    def _flush_bare(self) -> None:
        """A list member without angle brackets ends."""
        before, local, domain = _split_spec(self.words)
        # Words without an at sign are a mailbox without a domain, or junk behind angle brackets.
        if self.at or not self.after_angle:
            name = _phrase(before) or self.comment or None
            self._append(Address(name, None, local, domain))


def _last(words: list[_Word], kind: str) -> int | None:
    """Index of the last word of a kind."""
    return next((i for i in range(len(words) - 1, -1, -1) if words[i].kind == kind), None)


def _text(word: _Word) -> bytes:
    return unescape(word.text[1:-1]) if word.kind == "quoted" else word.text


def _phrase(words: list[_Word]) -> bytes:
    """The text of a phrase: quotes gone, white space between words one blank."""
    return b"".join(
        b" " + _text(word) if word.spaced and i else _text(word) for i, word in enumerate(words)
    )


def _split_spec(words: list[_Word]) -> tuple[list[_Word], bytes, bytes]:
    """Words that stand before an address, its local part, its domain.

    White space and comments inside the address do not count (RFC 5322 section 4.4).
    """
    at = _last(words, "@")
    if at is None:
        return [], _phrase(words), b""
    # The local part is the word before the at sign, and what dots tie to it.
    start = at
    while start > 0 and (start == at or words[start].kind in ".@" or words[start - 1].kind in ".@"):
        start -= 1
    local = b"".join(_text(word) for word in words[start:at])
    # The domain ends where words follow each other without a dot.
    domain = b""
    previous = "."
    for word in words[at + 1 :]:
        if word.kind not in (".", "literal", "atom") or (previous != "." != word.kind):
            break
        domain += word.text
        previous = word.kind
    return words[:start], local, domain
