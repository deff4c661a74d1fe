"""A strict reader of ENVELOPE, BODY and BODYSTRUCTURE values, by the ABNF of RFC 3501 section 9."""

from __future__ import annotations

from typing import NamedTuple


class GrammarError(Exception):
    """The octets are not what the ABNF allows."""


class Body(NamedTuple):
    """A body that was read; what a kind of body does not have is None or empty."""

    type: bytes
    subtype: bytes
    parameters: list[bytes] | None = None
    id: bytes | None = None
    description: bytes | None = None
    encoding: bytes | None = None
    octets: int | None = None
    lines: int | None = None
    envelope: tuple[object, ...] | None = None
    children: tuple[Body, ...] = ()
    #: md5 (not of multiparts), disposition, language, location.
    extension: tuple[object, ...] | None = None


class Reader:
    """Reads from the front of some octets."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets
        self.position = 0

    def fail(self, expected: str) -> GrammarError:
        around = self.octets[max(0, self.position - 40) : self.position + 40]
        return GrammarError(f"{expected} expected at {self.position}, in {around!r}")

    def peek(self, text: bytes) -> bool:
        return self.octets.startswith(text, self.position)

    def take(self, text: bytes) -> bool:
        if self.peek(text):
            self.position += len(text)
            return True
        return False

    def expect(self, text: bytes) -> None:
        if not self.take(text):
            raise self.fail(repr(text))

    def done(self) -> None:
        if self.position != len(self.octets):
            raise self.fail("the end")

    def number(self) -> int:
        start = self.position
        while self.octets[self.position : self.position + 1].isdigit():
            self.position += 1
        if start == self.position or int(self.octets[start : self.position]) >= 2**32:
            raise self.fail("number")
        return int(self.octets[start : self.position])

    def string(self) -> bytes:
        if self.take(b"{"):
            size = self.number()
            self.expect(b"}\r\n")
            text = self.octets[self.position : self.position + size]
            self.position += size
            if len(text) != size or b"\0" in text:
                raise self.fail("CHAR8 of the literal")
            return text
        self.expect(b'"')
        text = b""
        while not self.take(b'"'):
            char = self.octets[self.position : self.position + 1]
            if char == b"\\":
                self.position += 1
                char = self.octets[self.position : self.position + 1]
                if char not in (b'"', b"\\"):
                    raise self.fail("quoted-specials")
            elif not char or char in b"\r\n\0" or char > b"\x7f":
                raise self.fail("TEXT-CHAR")
            text += char
            self.position += 1
        return text

    def nstring(self) -> bytes | None:
        return None if self.take(b"NIL") else self.string()

    def addresses(self) -> list[tuple[bytes | None, ...]] | None:
        if self.take(b"NIL"):
            return None
        self.expect(b"(")
        found = []
        while not self.take(b")"):
            self.expect(b"(")
            address = [self.nstring()]
            for _ in range(3):
                self.expect(b" ")
                address.append(self.nstring())
            self.expect(b")")
            found.append(tuple(address))
        if not found:
            raise self.fail("1*address")
        return found

    def envelope(self) -> tuple[object, ...]:
        self.expect(b"(")
        found: list[object] = [self.nstring()]
        self.expect(b" ")
        found.append(self.nstring())
        for _ in range(6):
            self.expect(b" ")
            found.append(self.addresses())
        for _ in range(2):
            self.expect(b" ")
            found.append(self.nstring())
        self.expect(b")")
        return tuple(found)

    def parameters(self) -> list[bytes] | None:
        if self.take(b"NIL"):
            return None
        self.expect(b"(")
        found = [self.string()]
        while not self.take(b")"):
            self.expect(b" ")
            found.append(self.string())
        if len(found) % 2:
            raise self.fail("a value for each parameter")
        return found

    def disposition(self) -> tuple[bytes, list[bytes] | None] | None:
        if self.take(b"NIL"):
            return None
        self.expect(b"(")
        kind = self.string()
        self.expect(b" ")
        found = kind, self.parameters()
        self.expect(b")")
        return found

    def languages(self) -> bytes | list[bytes] | None:
        if not self.take(b"("):
            return self.nstring()
        found = [self.string()]
        while not self.take(b")"):
            self.expect(b" ")
            found.append(self.string())
        return found

    def extension(self) -> tuple[object, ...]:
        """What follows the first extension item, each item optional."""
        found: list[object] = []
        for read in (self.disposition, self.languages, self.nstring):
            if self.peek(b")"):
                break
            self.expect(b" ")
            found.append(read())
        return tuple(found)

    def body(self, extended: bool, rev2: bool = False) -> Body:
        self.expect(b"(")
        found = self.multipart(extended, rev2) if self.peek(b"(") else self.single(extended, rev2)
        self.expect(b")")
        return found

    def multipart(self, extended: bool, rev2: bool) -> Body:
        children = []
        while self.peek(b"("):
            children.append(self.body(extended, rev2))
        self.expect(b" ")
        found = Body(b"multipart", self.string(), children=tuple(children))
        if extended and self.take(b" "):
            found = found._replace(parameters=self.parameters(), extension=self.extension())
        return found

    def single(self, extended: bool, rev2: bool) -> Body:
        quoted = self.peek(b'"')
        kind = self.string()
        self.expect(b" ")
        subtype = self.string()
        self.expect(b" ")
        parameters = self.parameters()
        self.expect(b" ")
        content_id = self.nstring()
        self.expect(b" ")
        description = self.nstring()
        self.expect(b" ")
        encoding = self.string()
        self.expect(b" ")
        found = Body(kind, subtype, parameters, content_id, description, encoding, self.number())
        messages = (b"rfc822", b"global") if rev2 else (b"rfc822",)
        if kind.lower() == b"text":
            if not quoted:
                raise self.fail("quoted text")
            self.expect(b" ")
            found = found._replace(lines=self.number())
        elif kind.lower() == b"message" and subtype.lower() in messages:
            self.expect(b" ")
            envelope = self.envelope()
            self.expect(b" ")
            child = self.body(extended, rev2)
            self.expect(b" ")
            found = found._replace(envelope=envelope, children=(child,), lines=self.number())
        if extended and self.take(b" "):
            found = found._replace(extension=(self.nstring(), *self.extension()))
        return found


def read_envelope(octets: bytes) -> tuple[object, ...]:
    """Read an ENVELOPE value.

    :raises GrammarError: when it is none.
    """
    reader = Reader(octets)
    found = reader.envelope()
    reader.done()
    return found


def read_body(octets: bytes, extended: bool, rev2: bool = False) -> Body:
    """Read a BODY value, or with ``extended`` a BODYSTRUCTURE value.

    :raises GrammarError: when it is none.
    """
    reader = Reader(octets)
    found = reader.body(extended, rev2)
    reader.done()
    return found
