"""Octets of the control connection to values, and back."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from ipaddress import ip_address

from mailkit.files import FileEntry, FilePath

#: Octets of a command line with its line end: a path of Linux's longest and a verb.
MAX_COMMAND = 4200
#: Directories that a path may go through.
MAX_DEPTH = 100

# RFC 959 section 4.1.3: a client may put Telnet's IP and Synch before ABOR; RFC 854 has the codes.
_TELNET = bytes(range(0xF0, 0x100))
_is_verb = re.compile(rb"[A-Za-z]{3,4}\Z").match
_is_control = re.compile(r"[\x00-\x1f\x7f]").search
_is_port = re.compile(rb"(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})\Z").match
_is_time = re.compile(rb"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)([0-5]\d|60)(\.\d{1,9})?\Z").match
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: Seconds after which LIST shows the year in place of the time of day: half a year, as ls does.
_OLD = 182 * 86400


class CommandError(Exception):
    """A command is not as it must be.

    :param code: the reply's (RFC 959 section 4.2).
    """

    def __init__(self, text: str, code: int = 501) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


def parse_command(line: bytes) -> tuple[str, bytes]:
    """Verb in capitals, and argument.

    :raises CommandError: it is no command.
    """
    # RFC 959 section 5.3: one space; more belong to the argument, as names may begin with one.
    verb, _, argument = line.lstrip(_TELNET).partition(b" ")
    if not _is_verb(verb):
        raise CommandError("That is no command of FTP", 500)
    return verb.decode("ascii").upper(), argument


def parse_nothing(argument: bytes) -> None:
    """:raises CommandError: there is an argument."""
    if argument.strip():
        raise CommandError("That command takes no argument")


def parse_text(argument: bytes) -> str:
    """A text of a client.

    :raises CommandError: it is empty, or not UTF-8 (RFC 2640 section 2.1), or has control
        characters.
    """
    try:
        text = argument.decode("utf-8")
    except UnicodeDecodeError:
        raise CommandError("Names must be in UTF-8") from None
    if not text:
        raise CommandError("That command needs an argument")
    if _is_control(text):
        raise CommandError("Control characters are not allowed in names")
    return text


def parse_path(argument: bytes, directory: FilePath) -> FilePath:
    """The place that a client names, seen from the directory that it is in.

    ``..`` is resolved here, by name: above the home there is nothing (RFC 3659 section 6).

    :raises CommandError: it is no path.
    """
    text = parse_text(argument)
    found = [] if text.startswith("/") else list(directory)
    for name in text.split("/"):
        if name == "..":
            del found[-1:]
        elif name not in ("", "."):
            found.append(name)
    if len(found) > MAX_DEPTH:
        raise CommandError(f"A path has at most {MAX_DEPTH} names", 553)
    return tuple(found)


def without_options(argument: bytes) -> bytes:
    """What is to be listed.

    lenient: options of ls, which many clients send, are left out.
    """
    words = argument.lstrip(b" ")
    while words.startswith(b"-"):
        words = words.partition(b" ")[2].lstrip(b" ")
    return words


def parse_number(argument: bytes) -> int:
    """:raises CommandError: it is no number of octets."""
    if not argument.isdigit() or len(argument) > 18:
        raise CommandError("That must be a number")
    return int(argument)


def parse_port(argument: bytes) -> tuple[str, int]:
    """Address and port of PORT (RFC 959 section 4.1.2).

    :raises CommandError: there is none.
    """
    found = _is_port(argument.strip())
    numbers = [int(each) for each in found.groups()] if found else [256]
    if max(numbers) > 255:
        raise CommandError("PORT is written like this: PORT 192,0,2,1,200,10")
    return ".".join(map(str, numbers[:4])), numbers[4] * 256 + numbers[5]


def parse_extended_port(argument: bytes) -> tuple[str, int]:
    """Address and port of EPRT (RFC 2428 section 2).

    :raises CommandError: there is none, or of another protocol.
    """
    text = argument.strip().decode("ascii", "replace")
    fields = text.split(text[:1] or "|")
    if len(fields) != 5 or not (fields[3].isdecimal() and len(fields[3]) <= 5):
        raise CommandError("EPRT is written like this: EPRT |2|2001:db8::1|51210|")
    if fields[1] not in ("1", "2"):
        raise CommandError("Network protocol not supported, use (1,2)", 522)
    try:
        address = ip_address(fields[2])
    except ValueError:
        raise CommandError("That is no address") from None
    if address.version != (4 if fields[1] == "1" else 6):
        raise CommandError("Protocol and address do not belong together")
    port = int(fields[3])
    if port > 65535:
        raise CommandError("There is no such port")
    return str(address), port


def same_host(one: str, other: str) -> bool:
    """Whether two addresses are one, in whatever way they are written."""
    try:
        addresses = [ip_address(each.partition("%")[0]) for each in (one, other)]
    except ValueError:
        return one == other
    first, second = (getattr(each, "ipv4_mapped", None) or each for each in addresses)
    return bool(first == second)


def shown(path: FilePath) -> str:
    """A place, as clients see it."""
    return "/" + "/".join(path)


def quoted(path: FilePath) -> str:
    """RFC 959 appendix II: a quote within the name is doubled."""
    return '"' + shown(path).replace('"', '""') + '"'


def time_value(seconds: float) -> str:
    """RFC 3659 section 2.3: in UTC."""
    # "%Y" may leave out zeros.
    return "{:04}{:02}{:02}{:02}{:02}{:02}".format(*time.gmtime(seconds)[:6])


def parse_time(value: bytes) -> float:
    """Seconds since 1970, of a time as :func:`time_value` writes it, or with a fraction.

    :raises CommandError: it is none.
    """
    found = _is_time(value)
    try:
        if found is None:
            raise ValueError
        fields = [int(each) for each in found.groups()[:6]]
        # A leap second is the one before.
        when = datetime(*fields[:5], min(fields[5], 59), tzinfo=timezone.utc)  # type: ignore[misc,arg-type]
    except ValueError:
        raise CommandError("A time is written like this: 20261121120000") from None
    return when.timestamp() + float(found[7] or 0)


#: Facts that MLST and MLSD tell (RFC 3659 section 7.5).
FACTS = ("type", "size", "modify", "perm", "unique")


def facts_line(entry: FileEntry, facts: tuple[str, ...], name: str) -> str:
    """A line of MLST or MLSD (RFC 3659 section 7.2)."""
    directory = entry.is_directory
    values = {
        "type": "dir" if directory else "file",
        "size": None if directory else str(entry.size),
        "modify": None if entry.modified is None else time_value(entry.modified),
        "perm": entry.rights,
        "unique": entry.unique,
    }
    told = "".join(f"{fact}={value};" for fact in facts if (value := values[fact]) is not None)
    return f"{told} {name}"


def list_line(entry: FileEntry, now: float) -> str:
    """A line of LIST, as ``ls -l`` writes it and most clients read it."""
    modified = entry.modified or 0
    when = time.gmtime(modified)
    day = f"{_MONTHS[when.tm_mon - 1]} {when.tm_mday:2}"
    if now - _OLD < modified <= now + 86400:
        day += f" {when.tm_hour:02}:{when.tm_min:02}"
    else:
        day += f" {when.tm_year:5}"
    if entry.is_directory:
        kind = "drwx------" if "c" in entry.rights else "dr-x------"
    else:
        kind = "-rw-------" if "w" in entry.rights else "-r--------"
    return f"{kind}   1 user     user     {entry.size:12} {day} {entry.name}"
