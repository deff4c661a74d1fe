"""LANGUAGE: texts for people in their language (RFC 5255 section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.imap.grammar import Arguments, Command, SyntaxFault
from mailkit.imap.handlers.authenticated import tell_namespaces
from mailkit.imap.handlers.table import ANY, Capability, Verb, Waiting
from mailkit.translation import (
    DEFAULT_LANGUAGE,
    LANGUAGES,
    find_language,
    is_language_range,
)

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: Language ranges that one LANGUAGE may have.
MAX_RANGES = 50


def language(connection: IMAPProtocol, command: Command) -> Waiting:
    """RFC 5255 section 3.2"""
    ranges = _read_ranges(command.arguments)
    if not ranges:
        connection.write(b"* LANGUAGE (%b)\r\n" % " ".join(LANGUAGES).encode("ascii"))
        connection.ok("Supported languages have been listed")
        return None
    # RFC 5255 section 3.2: "default" is what the administrator prefers.
    preferred = connection.factory.language
    found = find_language(["*" if text == "default" else text for text in ranges], preferred)
    if found is None:
        connection.no("None of these languages is known here")
        return None
    connection.language = found
    connection.write(b"* LANGUAGE (%b)\r\n" % found.encode("ascii"))
    # RFC 5255 section 3.4
    if found != DEFAULT_LANGUAGE and b"NAMESPACE" in connection.verbs and connection.account:
        tell_namespaces(connection)
    connection.ok("Now speaking English")
    return None


def _read_ranges(arguments: Arguments) -> list[str]:
    ranges: list[str] = []
    while not arguments.at_end():
        arguments.space()
        wanted = arguments.text(arguments.astring("A language"), "A language")
        # RFC 5255 section 3.5: the quotes once removed, what RFC 4647 calls a language-range.
        if not is_language_range(wanted):
            raise SyntaxFault("A language is named as in: LANGUAGE de-AT en")
        ranges.append(wanted.lower())
        if len(ranges) > MAX_RANGES:
            raise SyntaxFault(f"LANGUAGE takes at most {MAX_RANGES} languages")
    return ranges


VERBS: Mapping[bytes, Verb] = {b"LANGUAGE": Verb(ANY, language, extension=b"LANGUAGE")}

# RFC 5255 section 3.1: told in the greeting too; nothing without NAMESPACE.
CAPABILITIES: Sequence[Capability] = (Capability(b"LANGUAGE", needs=b"NAMESPACE"),)
