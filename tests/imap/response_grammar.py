"""A strict reader of server responses, by the ABNF of RFC 3501 section 9 and of the extensions.

It shares no code with mailkit: what mailkit says is judged by somebody else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from tests.mime.imap_grammar import GrammarError, Reader

_Value = TypeVar("_Value")

_ATOM = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
_ASTRING = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\]+')
_TAG = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\+]+')
_TEXT = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]+")
_CODE_TEXT = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x5c\x5e-\x7f]+")
_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\Z")
_DATE_TIME = re.compile(
    rb'"(?: \d|\d\d)-(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)-\d{4}'
    rb' \d\d:\d\d:\d\d [+-]\d{4}"'
)
_SECTION_BINARY = re.compile(rb"(?:[1-9]\d*(?:\.[1-9]\d*)*)?\](?:<\d+>)?")
_SECTION = re.compile(
    rb"\[(?:[1-9]\d{0,9}(?:\.[1-9]\d{0,9})*(?:\.(?:HEADER\.FIELDS(?:\.NOT)?(?= \()|HEADER|TEXT|MIME))?"
    rb"|HEADER\.FIELDS(?:\.NOT)?(?= \()|HEADER|TEXT)?"
)
# RFC 4315 section 4: uid-set has no "*".
_UID_SET = re.compile(rb"[1-9]\d*(?::[1-9]\d*)?(?:,[1-9]\d*(?::[1-9]\d*)?)*")
# RFC 2152 within RFC 3501 section 5.1.3: printable ASCII, "&" begins a run of base64 up to "-".
_MAILBOX = re.compile(rb"(?:[\x20-\x25\x27-\x7e]|&(?:[A-Za-z0-9+,]*)-)*\Z")
_STATUS_ITEMS = frozenset((b"MESSAGES", b"RECENT", b"UIDNEXT", b"UIDVALIDITY", b"UNSEEN"))
_SELECTABILITY = frozenset((b"\\noselect", b"\\marked", b"\\unmarked"))

_DIGITS = re.compile(rb"\d+")


class _Response(Reader):
    """Reads one response without its last CRLF."""

    def match(self, pattern: re.Pattern[bytes], what: str) -> bytes:
        match = pattern.match(self.octets, self.position)
        if match is None:
            raise self.fail(what)
        self.position = match.end()
        return match.group()

    def words(self, *words: bytes) -> bytes | None:
        """One of some atoms, if it stands here."""
        match = _ATOM.match(self.octets, self.position)
        if match is None or match.group().upper() not in words:
            return None
        self.position = match.end()
        return match.group().upper()

    def nz_number(self) -> int:
        number = self.number()
        if number == 0:
            raise self.fail("nz-number")
        return number

    def nz_number64(self) -> None:
        digits = self.match(_DIGITS, "mod-sequence-value")
        if not 0 < int(digits) < 2**63:
            raise self.fail("mod-sequence-value")

    def listed(self, read: Callable[[], _Value], *, empty: bool = True) -> list[_Value]:
        self.expect(b"(")
        found: list[_Value] = []
        while not self.take(b")"):
            if found:
                self.expect(b" ")
            found.append(read())
        if not (found or empty):
            raise self.fail("at least one value")
        return found

    def astring(self) -> bytes:
        if self.peek(b'"') or self.peek(b"{"):
            return self.string()
        return self.match(_ASTRING, "astring")

    def mailbox(self) -> bytes:
        name = self.astring()
        if _MAILBOX.match(name) is None:
            raise self.fail("modified UTF-7")
        if name.upper() == b"INBOX" and name != b"INBOX":
            raise self.fail("INBOX in capitals")
        return name

    def flag(self, special: bytes = b"") -> bytes:
        """A flag; ``special`` is one that no other rule has."""
        if special and self.take(special):
            return special
        start = self.position
        self.take(b"\\")
        self.match(_ATOM, "atom")
        return self.octets[start : self.position]

    def flags(self, special: bytes = b"") -> list[bytes]:
        found = self.listed(lambda: self.flag(special))
        if len({flag.lower() for flag in found}) != len(found):
            raise self.fail("different flags")
        return found

    # Parts of responses.

    def text(self) -> None:
        """resp-text"""
        if self.take(b"["):
            self.code()
            self.expect(b"] ")
        self.match(_TEXT, "text")
        self.done()

    def code(self) -> None:
        name = self.match(_ATOM, "resp-text-code").upper()
        if name in (b"UIDNEXT", b"UIDVALIDITY", b"UNSEEN"):
            self.expect(b" ")
            self.nz_number()
        elif name == b"HIGHESTMODSEQ":
            self.expect(b" ")
            self.nz_number64()
        elif name == b"PERMANENTFLAGS":
            self.expect(b" ")
            self.flags(b"\\*")
        elif name == b"BADCHARSET":
            if self.take(b" "):
                self.listed(self.astring, empty=False)
        elif name == b"CAPABILITY":
            self.capabilities()
        elif name in (b"APPENDUID", b"COPYUID"):
            self.expect(b" ")
            self.nz_number()
            for _ in range(1 if name == b"APPENDUID" else 2):
                self.expect(b" ")
                self.match(_UID_SET, "uid-set")
        elif self.take(b" "):
            self.match(_CODE_TEXT, "text of the code")

    def capabilities(self) -> None:
        found = []
        while self.take(b" "):
            found.append(self.match(_ATOM, "capability"))
        if b"IMAP4rev1" not in found or len(set(found)) != len(found):
            raise self.fail("IMAP4rev1 among different capabilities")

    def mailbox_list(self) -> None:
        flags = [flag.lower() for flag in self.listed(self.flag)]
        if len(set(flags)) != len(flags) or len(_SELECTABILITY.intersection(flags)) > 1:
            raise self.fail("mbx-list-flags")
        self.expect(b" ")
        if not self.take(b"NIL") and len(self.string()) != 1:
            raise self.fail("one character")
        self.expect(b" ")
        self.mailbox()

    def status(self) -> None:
        self.mailbox()
        self.expect(b" ")

        def item() -> bytes:
            name = self.match(_ATOM, "status-att")
            if name not in _STATUS_ITEMS:
                raise self.fail("status-att")
            self.expect(b" ")
            self.number()
            return name

        names = self.listed(item)
        if len(set(names)) != len(names):
            raise self.fail("different items")

    def identification(self) -> None:
        if self.take(b"NIL"):
            return
        pairs = self.listed(lambda: self.nstring())
        if len(pairs) % 2 or None in pairs[::2]:
            raise self.fail("pairs")

    def namespaces(self) -> None:
        for number in range(3):
            if number:
                self.expect(b" ")
            if self.take(b"NIL"):
                continue
            self.expect(b"(")
            while not self.take(b")"):
                self.expect(b"(")
                self.string()
                self.expect(b" ")
                if not self.take(b"NIL"):
                    self.string()
                self.expect(b")")

    def attribute(self) -> bytes:
        """One item of msg-att; gives its name."""
        start = self.position
        if self.take(b"BODY["):
            self.position -= 1
            self.match(_SECTION, "section")
            if self.take(b" "):
                self.listed(self.astring, empty=False)
            self.expect(b"]")
            if self.take(b"<"):
                self.number()
                self.expect(b">")
            name = self.octets[start : self.position]
            self.expect(b" ")
            self.nstring()
            return name
        if self.take(b"BINARY[") or self.take(b"BINARY.SIZE["):
            self.match(_SECTION_BINARY, "section-binary")
            name = self.octets[start : self.position]
            self.expect(b" ")
            if name.startswith(b"BINARY.SIZE"):
                self.number()
            else:
                self.take(b"~")
                self.nstring()
            return name
        name = self.match(_ATOM, "msg-att")
        self.expect(b" ")
        if name == b"FLAGS":
            self.flags()
        elif name == b"UID":
            self.nz_number()
        elif name == b"RFC822.SIZE":
            self.number()
        elif name == b"INTERNALDATE":
            self.match(_DATE_TIME, "date-time")
        elif name == b"ENVELOPE":
            self.envelope()
        elif name in (b"BODY", b"BODYSTRUCTURE"):
            self.body(name == b"BODYSTRUCTURE")
        elif name in (b"RFC822", b"RFC822.HEADER", b"RFC822.TEXT"):
            self.nstring()
        elif name == b"MODSEQ":
            self.expect(b"(")
            self.nz_number64()
            self.expect(b")")
        else:
            raise self.fail("msg-att")
        return name

    def numbered(self) -> None:
        """Responses that begin with a number."""
        number = self.number()
        self.expect(b" ")
        if self.words(b"EXISTS", b"RECENT"):
            return
        if number == 0:
            raise self.fail("nz-number")
        if self.words(b"EXPUNGE"):
            return
        if not self.words(b"FETCH"):
            raise self.fail("a response with a number")
        self.expect(b" ")
        self.listed(self.attribute, empty=False)

    def untagged(self, greeting: bool) -> None:
        conditions = (b"OK", b"PREAUTH", b"BYE") if greeting else (b"OK", b"NO", b"BAD", b"BYE")
        if self.words(*conditions):
            self.expect(b" ")
            self.text()
        elif greeting:
            raise self.fail("a greeting")
        elif self.octets[self.position : self.position + 1].isdigit():
            self.numbered()
        elif self.words(b"CAPABILITY"):
            self.capabilities()
        elif self.words(b"SEARCH"):
            while self.take(b" "):
                if self.take(b"(MODSEQ "):
                    self.nz_number64()
                    self.expect(b")")
                    break
                self.nz_number()
        elif self.words(b"ENABLED"):
            while self.take(b" "):
                self.match(_ATOM, "capability")
        else:
            self.named()

    def named(self) -> None:
        """Responses whose name is followed by a space."""
        readers: dict[bytes, Callable[[], object]] = {
            b"FLAGS": self.flags,
            b"LIST": self.mailbox_list,
            b"LSUB": self.mailbox_list,
            b"STATUS": self.status,
            b"ID": self.identification,
            b"NAMESPACE": self.namespaces,
        }
        name = self.words(*readers)
        if name is None:
            raise self.fail("a response")
        self.expect(b" ")
        readers[name]()


def check_response(octets: bytes, *, greeting: bool = False) -> None:
    """Read one response.

    :param octets: without the last CRLF, literals included.
    :param greeting: it is the first one of a connection.
    :raises GrammarError: it is none.
    """
    reader = _Response(octets)
    if reader.take(b"+"):
        reader.expect(b" ")
        if _BASE64.match(octets, 2) is None:
            reader.text()
        return
    if reader.take(b"* "):
        reader.untagged(greeting)
    else:
        reader.match(_TAG, "tag")
        reader.expect(b" ")
        if greeting or not reader.words(b"OK", b"NO", b"BAD"):
            raise reader.fail("resp-cond-state")
        reader.expect(b" ")
        reader.text()
    reader.done()


__all__ = ["GrammarError", "check_response"]
