"""Packets of the milter protocol, version 6, as a mail server speaks it. No I/O.

There is no RFC. The protocol is Sendmail's; what is here follows its ``libmilter`` and the behaviour of
Postfix (MILTER_README). A packet is a length of four octets, a code of one, and data.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

VERSION = 6
#: Versions that are spoken: older milters give no reply to single steps.
OLDEST_VERSION = 2
#: Octets of a packet that a milter sends, its code included.
MAX_PACKET = 1024 * 1024
#: Octets of the body in one packet.
MAX_CHUNK = 65535
#: Octets of the other data in one packet; libmilter reads no more.
MAX_DATA = 65535
#: Macros that a milter may ask for in one stage.
MAX_MACROS = 100

_LENGTH = struct.Struct("!I")
_OPTIONS = struct.Struct("!III")


class MilterError(Exception):
    """A milter says what it must not say, or does not answer."""


class Action(enum.IntFlag):
    """What a milter may do with a message."""

    ADD_HEADERS = 0x01
    CHANGE_BODY = 0x02
    ADD_RECIPIENTS = 0x04
    REMOVE_RECIPIENTS = 0x08
    CHANGE_HEADERS = 0x10
    QUARANTINE = 0x20
    CHANGE_SENDER = 0x40
    ADD_RECIPIENTS_WITH_PARAMETERS = 0x80
    SET_MACROS = 0x100


ALL_ACTIONS = Action(0x1FF)


class Step(enum.IntFlag):
    """Steps that a milter does not want, or to which it does not reply; and abilities."""

    NO_CONNECT = 0x01
    NO_HELO = 0x02
    NO_MAIL = 0x04
    NO_RCPT = 0x08
    NO_BODY = 0x10
    NO_HEADERS = 0x20
    NO_END_OF_HEADERS = 0x40
    SILENT_HEADERS = 0x80
    NO_UNKNOWN = 0x100
    NO_DATA = 0x200
    SKIP = 0x400
    REFUSED_RECIPIENTS = 0x800
    SILENT_CONNECT = 0x1000
    SILENT_HELO = 0x2000
    SILENT_MAIL = 0x4000
    SILENT_RCPT = 0x8000
    SILENT_DATA = 0x10000
    SILENT_UNKNOWN = 0x20000
    SILENT_END_OF_HEADERS = 0x40000
    SILENT_BODY = 0x80000
    LEADING_SPACE = 0x100000


#: What is offered: all but recipients that were refused, which hooks do not hear of.
OFFERED_STEPS = Step(0x1FF7FF)


class Stage(enum.IntEnum):
    """Stages in which macros are sent, as a milter numbers them."""

    CONNECT = 0
    HELO = 1
    MAIL = 2
    RCPT = 3
    DATA = 4
    END_OF_MESSAGE = 5
    END_OF_HEADERS = 6


#: The command that the macros of each stage stand before.
STAGE_COMMANDS = {
    Stage.CONNECT: b"C",
    Stage.HELO: b"H",
    Stage.MAIL: b"M",
    Stage.RCPT: b"R",
    Stage.DATA: b"T",
    Stage.END_OF_HEADERS: b"N",
    Stage.END_OF_MESSAGE: b"E",
}


class Packet(NamedTuple):
    """A packet that has come."""

    code: bytes
    data: bytes


class Decoder:
    """Octets to packets."""

    def __init__(self, max_packet: int = MAX_PACKET) -> None:
        self._max_packet = max_packet
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that are complete now.

        :raises MilterError: one has no code, or is too long.
        """
        buffer = self._buffer
        buffer += data
        packets = []
        position = 0
        while len(buffer) - position >= 4:
            (length,) = _LENGTH.unpack_from(buffer, position)
            if not 1 <= length <= self._max_packet:
                raise MilterError(f"a packet of {length} octets")
            end = position + 4 + length
            if len(buffer) < end:
                break
            code = bytes(buffer[position + 4 : position + 5])
            packets.append(Packet(code, bytes(buffer[position + 5 : end])))
            position = end
        del buffer[:position]
        return packets


# What a mail server sends.


def packet(code: bytes, data: bytes = b"") -> bytes:
    """The octets of a packet."""
    return _LENGTH.pack(len(data) + 1) + code + data


def _strings(*values: bytes) -> bytes:
    # A NUL would end a value early, and begin another one.
    return b"".join(value.replace(b"\0", b"") + b"\0" for value in values)


def options(actions: Action = ALL_ACTIONS, steps: Step = OFFERED_STEPS) -> bytes:
    """SMFIC_OPTNEG: what is offered."""
    return packet(b"O", _OPTIONS.pack(VERSION, actions, steps))


def macros(stage: Stage, values: Sequence[tuple[bytes, bytes]]) -> bytes:
    """SMFIC_MACRO: names and values for the command that follows."""
    data = _strings(*(part for pair in values for part in pair))
    return packet(b"D", STAGE_COMMANDS[stage] + data)


def connect(name: bytes, address: str, port: int) -> bytes:
    """SMFIC_CONNECT.

    :param address: empty where the client has none.
    """
    if not address:
        return packet(b"C", _strings(name) + b"U")
    family = b"6" if ":" in address else b"4"
    data = _strings(name) + family + struct.pack("!H", port)
    return packet(b"C", data + _strings(address.encode("ascii", "replace")))


def helo(name: bytes) -> bytes:
    """SMFIC_HELO."""
    return packet(b"H", _strings(name))


def mail(path: bytes, parameters: Iterable[bytes] = ()) -> bytes:
    """SMFIC_MAIL.

    :param path: with its angle brackets.
    """
    return packet(b"M", _strings(path, *parameters))


def rcpt(path: bytes, parameters: Iterable[bytes] = ()) -> bytes:
    """SMFIC_RCPT."""
    return packet(b"R", _strings(path, *parameters))


DATA = packet(b"T")
END_OF_HEADERS = packet(b"N")
END_OF_MESSAGE = packet(b"E")
ABORT = packet(b"A")
QUIT = packet(b"Q")
#: The client is gone, and another one follows on the same connection (version 6).
QUIT_NC = packet(b"K")


def header(name: bytes, value: bytes) -> bytes:
    """SMFIC_HEADER.

    :param value: with folds, which milters know by LF alone.
    """
    name = name[:MAX_DATA]
    return packet(b"L", _strings(name, value.replace(b"\r\n", b"\n")[: MAX_DATA - len(name) - 2]))


def body(chunk: bytes) -> bytes:
    """SMFIC_BODY: at most :data:`MAX_CHUNK` octets."""
    return packet(b"B", chunk)


# What a milter answers.


class Options(NamedTuple):
    """What a milter wants."""

    version: int
    actions: Action
    steps: Step
    #: The macros that it asks for, by stage.
    macros: dict[Stage, list[bytes]]


def parse_options(data: bytes) -> Options:
    """The answer to SMFIC_OPTNEG.

    :raises MilterError: it wants what was not offered, or is no answer.
    """
    if len(data) < _OPTIONS.size:
        raise MilterError("the answer to the options is too short")
    version, actions, steps = _OPTIONS.unpack_from(data)
    if not OLDEST_VERSION <= version <= VERSION:
        raise MilterError(f"version {version} of the protocol is not spoken here")
    if actions & ~int(ALL_ACTIONS) or steps & ~int(OFFERED_STEPS):
        raise MilterError("it wants more than was offered")
    wanted: dict[Stage, list[bytes]] = {}
    rest = data[_OPTIONS.size :]
    while rest:
        if len(rest) < 5 or b"\0" not in rest[4:]:
            raise MilterError("bad list of macros")
        (number,) = _LENGTH.unpack_from(rest)
        names, _, rest = rest[4:].partition(b"\0")
        try:
            stage = Stage(number)
        except ValueError:
            raise MilterError(f"macros for the unknown stage {number}") from None
        found = names.replace(b",", b" ").split()
        if len(found) > MAX_MACROS:
            raise MilterError("too many macros")
        wanted[stage] = found
    return Options(version, Action(actions), Step(steps), wanted)


class Verdict(enum.Enum):
    """Replies that end a step."""

    CONTINUE = b"c"
    ACCEPT = b"a"
    REJECT = b"r"
    TEMPFAIL = b"t"
    DISCARD = b"d"
    SKIP = b"s"
    REPLY_CODE = b"y"
    SHUTDOWN = b"4"
    CONNECTION_FAILURE = b"f"


PROGRESS = b"p"


class ReplyText(NamedTuple):
    """SMFIR_REPLYCODE."""

    code: int
    #: Empty when there is none.
    enhanced: str
    text: str


class AddField(NamedTuple):
    """SMFIR_ADDHEADER, or SMFIR_INSHEADER with a place from 0."""

    place: int | None
    name: str
    value: str


class ChangeField(NamedTuple):
    """SMFIR_CHGHEADER: counted from 1 among the fields of that name; no value removes it."""

    occurrence: int
    name: str
    value: str


class Sender(NamedTuple):
    """SMFIR_CHGFROM."""

    path: bytes


class NewRecipient(NamedTuple):
    """SMFIR_ADDRCPT and SMFIR_ADDRCPT_PAR."""

    path: bytes
    parameters: bytes


class OldRecipient(NamedTuple):
    """SMFIR_DELRCPT."""

    path: bytes


class BodyPiece(NamedTuple):
    """SMFIR_REPLBODY."""

    octets: bytes


class Hold(NamedTuple):
    """SMFIR_QUARANTINE."""

    reason: str


Modification = AddField | ChangeField | Sender | NewRecipient | OldRecipient | BodyPiece | Hold

#: What each modification must have been negotiated as.
_NEEDED = {
    b"h": Action.ADD_HEADERS,
    b"i": Action.ADD_HEADERS,
    b"m": Action.CHANGE_HEADERS,
    b"b": Action.CHANGE_BODY,
    b"+": Action.ADD_RECIPIENTS,
    b"2": Action.ADD_RECIPIENTS_WITH_PARAMETERS,
    b"-": Action.REMOVE_RECIPIENTS,
    b"e": Action.CHANGE_SENDER,
    b"q": Action.QUARANTINE,
}


def is_modification(code: bytes) -> bool:
    """Whether a packet changes the message, and another one follows."""
    return code in _NEEDED


def parse_modification(packet: Packet, actions: Action) -> Modification:
    """What a milter wants to be changed.

    :raises MilterError: it was not negotiated, or its data are wrong.
    """
    code, data = packet
    if not _NEEDED[code] & actions:
        raise MilterError(f"it sends {code!r}, which it has not asked for")
    if code == b"b":
        return BodyPiece(data)
    if code in (b"i", b"m"):
        if len(data) < 4:
            raise MilterError(f"{code!r} without its index")
        (index,) = _LENGTH.unpack_from(data)
        name, value = _split(data[4:], 2)
        if code == b"i":
            return AddField(index, _text(name), _text(value))
        return ChangeField(index, _text(name), _text(value))
    if code == b"h":
        name, value = _split(data, 2)
        return AddField(None, _text(name), _text(value))
    if code == b"q":
        return Hold(_text(_split(data, 1)[0]))
    if code == b"-":
        return OldRecipient(_split(data, 1)[0])
    if code == b"+":
        return NewRecipient(_split(data, 1)[0], b"")
    path, *parameters = _split(data, 1 if data.count(b"\0") < 2 else 2)
    return NewRecipient(path, b"".join(parameters)) if code == b"2" else Sender(path)


def _split(data: bytes, count: int) -> list[bytes]:
    """So many strings, each with a NUL behind it.

    :raises MilterError: there are more or fewer.
    """
    parts = data.split(b"\0")
    if len(parts) != count + 1 or parts[-1]:
        raise MilterError("data that are not strings")
    return parts[:-1]


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")


def parse_reply_text(data: bytes) -> ReplyText:
    """SMFIR_REPLYCODE: ``550 5.7.1 text``; several lines each begin with the code.

    :raises MilterError: it is no reply.
    """
    (octets,) = _split(data, 1)
    lines = octets.decode("utf-8", "replace").split("\r\n")
    head = lines[0]
    if not (head[:3].isascii() and head[:3].isdigit() and head[0] in "45" and head[3:4] in " -"):
        raise MilterError("a reply without a code of 400 to 599")
    texts = [line[4:] for line in lines if line]
    first, _, _ = texts[0].partition(" ")
    parts = first.split(".")
    enhanced = ""
    if len(parts) == 3 and all(p.isascii() and p.isdigit() and len(p) <= 3 for p in parts):
        if parts[0] != head[0]:
            raise MilterError("a reply whose codes do not fit to each other")
        enhanced = first
        texts = [text[len(first) :].lstrip() if text.startswith(first) else text for text in texts]
    # Milters double percent signs, as Sendmail reads the text as a format.
    text = "\n".join(texts).replace("%%", "%")
    return ReplyText(int(head[:3]), enhanced, text)
