"""Names of mailboxes and messages as those of files: safe, unique, and the same each time. No I/O."""

from __future__ import annotations

import re
import unicodedata
from hashlib import sha256
from urllib.parse import unquote

from mailkit.mime.headers import parse_header
from mailkit.mime.words import decode_text

#: What the file of a message ends with.
MESSAGE_SUFFIX = ".eml"
#: Octets of a name that file systems and clients have room for, in UTF-8.
MAX_NAME = 200
#: Characters of a subject that a file's name shows.
MAX_SUBJECT = 60

_is_control = re.compile(r"[\x00-\x1f\x7f]").search
_is_message = re.compile(r"(\d{1,10})(?:-.*)?\.eml", re.ASCII | re.DOTALL).fullmatch
# What some file systems do not take.
_UNSAFE = frozenset('/\\:*?"<>|')
#: Between what is left of a name that is too long and what tells it from others.
_CUT = "%~"
#: A level without a name.
_EMPTY = "%"


def can_be_named(name: str) -> bool:
    """Whether clients can send a file's name back, and it stays one line of a listing."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return not _is_control(name)


def level_name(level: str) -> str:
    """The directory for one level of a mailbox's name.

    What cannot be part of a file's name stands there as ``%`` and the hexadecimal digits of its
    octets; of a level that is too long, only the beginning.
    """
    name = "".join(_encoded(each) if _is_unsafe(each) else each for each in level)
    if name in ("", ".", ".."):
        name = name.replace(".", "%2E") or _EMPTY
    elif _is_message(name):
        name = name[: -len(MESSAGE_SUFFIX)] + "%2Eeml"
    octets = name.encode("utf-8")
    if len(octets) > MAX_NAME:
        kept = octets[: MAX_NAME - 20].decode("utf-8", "ignore")
        name = f"{kept}{_CUT}{sha256(octets).hexdigest()[:16]}"
    return name


def read_level_name(name: str) -> str | None:
    """The level that a directory stands for; None when that is not told by its name alone."""
    if _CUT in name:
        return None
    level = "" if name == _EMPTY else unquote(name, errors="surrogateescape")
    return level if level_name(level) == name else None


def message_name(uid: int, subject: str) -> str:
    """The file of a message."""
    words = "".join(
        " " if each in _UNSAFE or unicodedata.category(each)[0] in "CZ" else each
        for each in unicodedata.normalize("NFC", subject[: 4 * MAX_SUBJECT])
    ).split()
    # Neither hidden, nor with an end that a file system takes away.
    text = " ".join(words)[:MAX_SUBJECT].strip(" .")
    text = text.encode("utf-8")[: MAX_NAME - 20].decode("utf-8", "ignore")
    return f"{uid}-{text}{MESSAGE_SUFFIX}" if text else f"{uid}{MESSAGE_SUFFIX}"


def read_message_name(name: str) -> int | None:
    """The UID of the message that a file is; None when it is none.

    lenient: what follows the number is for people, and not compared.
    """
    found = _is_message(name)
    return int(found[1]) if found else None


def read_subject(header: bytes) -> str:
    """The subject in the octets of a header."""
    value = parse_header(header).get(b"subject")
    return decode_text(value) if value else ""


def _is_unsafe(character: str) -> bool:
    # Unassigned ones and those of private use are letters to somebody.
    return character in "/%" or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def _encoded(character: str) -> str:
    return "".join(f"%{octet:02X}" for octet in character.encode("utf-8", "surrogatepass"))
