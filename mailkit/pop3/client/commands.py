"""Commands as a client writes them, and what comes back. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from mailkit.client.errors import ProtocolError
from mailkit.client.text import clean_text
from mailkit.pop3.client.reader import Sink

#: Octets of a command line with its line end (RFC 2449 section 4).
MAX_COMMAND = 255

_ENTRY = re.compile(rb"[ \t]*([0-9]{1,10})[ \t]+(\S.*?)[ \t]*", re.DOTALL)
_COUNT = re.compile(rb"([0-9]{1,20})(?:\s.*)?", re.DOTALL)
_STAT = re.compile(r"([0-9]{1,10})[ \t]+([0-9]{1,20})(?:\s.*)?", re.DOTALL)
# RFC 1939 section 7: a msg-id of RFC 822. Anything else might be made to find out the password.
_TIMESTAMP = re.compile(r"<[!-;=?A-~]{1,250}@[!-;=?A-~]{1,250}>")


@dataclass
class Command:
    """A command, and who takes what comes back."""

    #: For people: the verb.
    name: str
    #: As it is sent, without its line end.
    line: bytes = field(default=b"", repr=False)
    #: Takes the lines of a positive response that has several.
    collect: Callable[[bytes], object] | None = None
    #: Takes the message of a positive response that is one.
    sink: Sink | None = None
    #: Nothing else may be under way.
    alone: bool = False
    #: Seconds until the response must have ended; None for as long as the server is not silent.
    patience: float | None = None


def make_command(name: str, *arguments: str | int | bytes) -> Command:
    """
    :raises ValueError: an argument is none: it would be two lines, or none.
    """
    words = [name.encode("ascii")]
    for each in arguments:
        octets = each if isinstance(each, bytes) else str(each).encode("utf-8")
        if not octets or set(octets) & {0, 10, 13}:
            raise ValueError(f"{name} cannot carry that argument")
        words.append(octets)
    return Command(name, b" ".join(words))


def message_number(number: int) -> int:
    """
    :raises TypeError: it is no number.
    :raises ValueError: no message has that number.
    """
    if not isinstance(number, int):
        raise TypeError(f"a message number is an int: {number!r}")
    if not 0 < number < 10**10:
        raise ValueError(f"message numbers begin at 1: {number}")
    return number


def read_stat(text: str) -> tuple[int, int]:
    """Two numbers in front of a text (RFC 1939 section 5).

    :raises ProtocolError: there are none.
    """
    found = _STAT.fullmatch(text)
    if found is None:
        raise ProtocolError(f"The server's answer has no two numbers: {text[:80]!r}")
    return int(found[1]), int(found[2])


def read_size(line: bytes) -> tuple[int, int]:
    """A scan listing (RFC 1939 section 5): the message number and its octets.

    :raises ProtocolError: it is none.
    """
    number, rest = read_entry(line)
    found = _COUNT.fullmatch(rest)
    if found is None:
        raise ProtocolError(f"A line of the server's list is none: {clean_text(line[:80])!r}")
    return number, int(found[1])


def read_unique_id(line: bytes) -> tuple[int, str]:
    """A unique-id listing (RFC 1939 section 7): the message number and what identifies it.

    :raises ProtocolError: it is none.
    """
    number, rest = read_entry(line)
    # lenient: 70 printable characters is what it should be, but all that counts is that it stays.
    return number, rest.decode("utf-8", "backslashreplace")


def read_entry(line: bytes) -> tuple[int, bytes]:
    """A message number and what stands behind it.

    :raises ProtocolError: there is none.
    """
    found = _ENTRY.fullmatch(line)
    number = int(found[1]) if found else 0
    if found is None or not number:
        raise ProtocolError(f"A line of the server's list is none: {clean_text(line[:80])!r}")
    return number, found[2]


def find_timestamp(greeting: str) -> str:
    """What APOP signs (RFC 1939 section 7), angle brackets included; empty where there is none."""
    found = _TIMESTAMP.search(greeting)
    return found[0] if found else ""
