"""Octets to commands, and messages to the octets that RETR and TOP send. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from mailkit.hiding import hiding
from mailkit.wire.saslprep import Unprepared, saslprep

#: Octets of a command line with its line end. RFC 2449 section 4 asks for 255 at least; twice that
#: takes long passwords and the initial responses of clients that do not count.
MAX_COMMAND = 512

# RFC 2449 section 3: keyword = 3*4VCHAR. All there are consist of letters and digits.
_COMMAND = re.compile(rb"([A-Za-z0-9]{3,4})(?: ([^\0\r]*))?\Z")
#: Digits of a message number.
MAX_DIGITS = 10
#: Octets in which a run of RETR commands is looked for.
MAX_RUN = 1024

# As nearly all clients write it that send one behind the other.
_RUN = re.compile(rb"(?:RETR [0-9]{1,%d}\r\n)+" % MAX_DIGITS)
_NUMBER = re.compile(rb"[0-9]{1,%d}\Z" % MAX_DIGITS)
# Any number of lines that a command has room for.
_COUNT = re.compile(rb"[0-9]+\Z")
# RFC 4422 section 3.1: sasl-mech.
_MECHANISM = re.compile(rb"[A-Za-z0-9_-]{1,20}\Z")


class CommandError(Exception):
    """A line that is no command, or a command with wrong arguments; the text is for the client."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@hiding("argument")
class Command(NamedTuple):
    """One line from the client."""

    #: In capitals.
    verb: bytes
    #: All that follows the space after the verb.
    argument: bytes


def parse_command(line: bytes) -> Command:
    """A line without its end.

    :raises CommandError: it is no command.
    """
    match = _COMMAND.match(line)
    if match is None:
        raise CommandError("That is not a POP3 command")
    verb, argument = match.groups(b"")
    return Command(verb.upper(), argument)


def parse_nothing(argument: bytes) -> None:
    """:raises CommandError: there is an argument."""
    # lenient: spaces at the end of a line, which old clients send.
    if argument.strip(b" "):
        raise CommandError("This command takes no argument")


def parse_number(argument: bytes) -> int:
    """One message number.

    :raises CommandError: anything else.
    """
    # bytes.isdigit knows the digits of ASCII only.
    if argument.isdigit() and len(argument) <= MAX_DIGITS:
        return int(argument)
    argument = argument.rstrip(b" ")
    if not _NUMBER.match(argument):
        raise CommandError("This command takes one message number")
    return int(argument)


def find_run(octets: bytes) -> list[bytes]:
    """The lines of RETR commands that the octets begin with, without their line ends.

    Only those with whose arguments nothing is wrong; the number begins at the sixth octet.
    """
    match = _RUN.match(octets)
    return [] if match is None else match.group().split(b"\r\n")[:-1]


def parse_optional_number(argument: bytes) -> int | None:
    """One message number or nothing.

    :raises CommandError: anything else.
    """
    if not argument.strip(b" "):
        return None
    return parse_number(argument)


def parse_top(argument: bytes) -> tuple[int, int]:
    """A message number and a number of lines.

    :raises CommandError: anything else.
    """
    number, _, lines = argument.rstrip(b" ").partition(b" ")
    if not (_NUMBER.match(number) and _COUNT.match(lines)):
        raise CommandError("TOP takes a message number and a number of lines")
    return int(number), int(lines)


def parse_user(argument: bytes) -> str:
    """A user name: UTF-8, spaces inside allowed, made comparable by SASLprep.

    RFC 6856 section 2.2: as a query, so that characters younger than SASLprep may stay.

    :raises CommandError: nothing, not UTF-8, or with characters that no name has.
    """
    name = argument.strip(b" ")
    if not name:
        raise CommandError("USER takes a user name")
    try:
        return saslprep(name.decode("utf-8"), query=True)
    except UnicodeDecodeError:
        raise CommandError("User names are UTF-8") from None
    except Unprepared as error:
        raise CommandError(f"A user name cannot contain {error}") from None


def parse_password(argument: bytes) -> bytes:
    """A password: RFC 1939 section 7 lets spaces be part of it, the outer ones too.

    :raises CommandError: nothing, or not UTF-8 (RFC 6856 section 2.2).
    """
    if not argument:
        raise CommandError("PASS takes a password")
    try:
        argument.decode("utf-8")
    except UnicodeDecodeError:
        raise CommandError("Passwords are UTF-8") from None
    return argument


def parse_auth(argument: bytes) -> tuple[str, bytes | None]:
    """The mechanism in capitals ("" for none), and the initial response as it stands.

    :raises CommandError: anything else.
    """
    mechanism, space, response = argument.rstrip(b" ").partition(b" ")
    if not mechanism:
        return "", None
    if not _MECHANISM.match(mechanism) or b" " in response:
        raise CommandError("AUTH takes a mechanism and an initial response")
    return mechanism.decode("ascii").upper(), response if space else None


class TopFilter:
    """Lets the header, the empty line and the first lines of the body pass, chunk by chunk.

    :ivar finished: nothing more is wanted.
    """

    __slots__ = ("_in_header", "_left", "_line", "finished")

    def __init__(self, body_lines: int) -> None:
        self._left = body_lines
        self._in_header = True
        # How the unfinished line of the header begins: enough to know whether it is empty.
        self._line = b""
        self.finished = False

    def feed(self, data: bytes) -> bytes:
        """What to send of a chunk."""
        position = 0
        while self._in_header or self._left:
            end = data.find(b"\n", position)
            if end < 0:
                if self._in_header:
                    self._line = (self._line + data[position : position + 2])[:2]
                return data
            if not self._in_header:
                self._left -= 1
            else:
                line = self._line + data[position:end]
                self._in_header = line not in (b"", b"\r")
                self._line = b""
            position = end + 1
        self.finished = True
        return data[:position]
