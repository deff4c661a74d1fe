"""Hooks: code of yours that judges and edits mail while it is received.

A hook has any of the steps of :class:`~mailkit.interfaces.IMailHook`; those that it lacks cost
nothing. Each step may be ``async`` or plain, gets its arguments by keyword, and answers None to go
on, one of the answers below, or a sequence of them. Raising a
:class:`~mailkit.errors.MailError` refuses with the reply of that error.

::

    class NoTuesdays(MailHook):
        async def mail(self, session, envelope):
            if await is_tuesday():
                return Defer("Come back tomorrow")

A function instead of an object is asked with each complete message, as the step ``message``.
"""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, TypeAlias

from mailkit.model import ConnectionInfo, Envelope, Outcome, Path, Recipient
from mailkit.spool import Spool


class Step(enum.Enum):
    """When hooks are asked; the values are the names of their methods."""

    CONNECT = "connect"
    EHLO = "ehlo"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    HEADER = "header"
    MESSAGE = "message"
    DELIVERED = "delivered"
    DISCONNECT = "disconnect"

    # Each is there once; Enum's own is a function in Python.
    __hash__ = object.__hash__


@dataclass
class MailSession:
    """A client while it is connected: what hooks see, and what they tell each other."""

    connection: ConnectionInfo
    #: Our own name.
    hostname: str
    #: What the client called itself in HELO, EHLO or LHLO; empty before.
    helo: str = ""
    #: It said EHLO or LHLO.
    esmtp: bool = False
    #: Name of the authenticated account, or None.
    account: str | None = None
    #: The SASL mechanism of its login; ``XCLIENT`` where a trusted client has named the account.
    auth_mechanism: str = ""
    #: Protocol version and cipher of the connection, empty without TLS.
    tls_version: str = ""
    tls_cipher: str = ""
    #: Bits of the key of that cipher; 0 when unknown.
    tls_bits: int = 0
    #: Common names of the subject and the issuer of the client's certificate, which is one of an
    #: authority that we trust; empty without one.
    certificate_subject: str = ""
    certificate_issuer: str = ""
    #: The client's host name, confirmed by DNS or told by a trusted proxy; empty when unknown.
    client_name: str = ""
    #: Messages taken and commands refused so far on this connection.
    messages: int = 0
    errors: int = 0
    #: Tells whether the client has sent something that was not read yet: before the greeting it
    #: must not (RFC 5321 section 3.1).
    has_input: Callable[[], bool] = bool
    #: Whatever hooks want to keep for the connection, by names of their own. It stays when STARTTLS
    #: makes another session of it: what the client said before is not to be trusted then.
    facts: dict[str, Any] = field(default_factory=dict)


class HeaderField(NamedTuple):
    """A field of a message's header; octets that are not UTF-8 are surrogate escapes."""

    name: str
    #: With its folds, without the line end: what stands behind the colon.
    value: str


# Answers.

_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}", re.ASCII)


@dataclass(frozen=True)
class Accept:
    """Ask none of the later hooks any more.

    From ``connect``, ``ehlo`` or ``auth`` that holds for the connection, else for this message. The
    protocol's own limits hold all the same.
    """

    reason: str = ""


@dataclass(frozen=True)
class _Refusal:
    #: The first digit of both codes.
    digit: ClassVar[str]

    text: str
    #: Reply code (RFC 5321 section 4.2.3).
    code: int
    #: Enhanced status code (RFC 3463).
    enhanced: str
    #: End the connection after the reply.
    close: bool

    def __post_init__(self) -> None:
        if not 400 <= self.code <= 599 or str(self.code)[0] != self.digit:
            raise ValueError(f"{self.code} is no reply code for {type(self).__name__}")
        if not _ENHANCED.fullmatch(self.enhanced) or self.enhanced[0] != self.digit:
            raise ValueError(f"{self.enhanced!r} does not fit to the reply code {self.code}")


@dataclass(frozen=True)
class Reject(_Refusal):
    """Refuse for good: a 5xx reply.

    :raises ValueError: the codes are none, or do not fit to each other.
    """

    digit: ClassVar[str] = "5"

    text: str = "Refused by policy"
    code: int = 550
    enhanced: str = "5.7.1"
    close: bool = False


@dataclass(frozen=True)
class Defer(_Refusal):
    """Refuse for now: a 4xx reply, after which the client tries again.

    :raises ValueError: the codes are none, or do not fit to each other.
    """

    digit: ClassVar[str] = "4"

    text: str = "Please try again later"
    code: int = 451
    enhanced: str = "4.7.1"
    close: bool = False


@dataclass(frozen=True)
class Quarantine:
    """Take the message, and keep it apart from good mail: in the mailbox for junk."""

    reason: str


@dataclass(frozen=True)
class Discard:
    """Say yes to the client and throw the message away (what milters call discard)."""

    reason: str


# Edits: of the transaction, from ``mail`` on, and of the message. What concerns the message is
# carried out when all hooks have seen it, in the order in which they answered.


def _check_field(name: str, value: str) -> None:
    # RFC 5322 section 2.2: printable ASCII but the colon; a value must not begin another field.
    if not name or not all("!" <= c <= "~" and c != ":" for c in name):
        raise ValueError(f"{name!r} is not the name of a header field")
    if re.search(r"\r(?!\n)|(?<!\r)\n|\r\n(?![ \t])|\x00", value):
        raise ValueError(f"the value of {name} has a line end that is no fold, or NUL")
    # UnicodeEncodeError is a ValueError.
    value.encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class AddHeader:
    """Add a header field.

    :param name: the field's name.
    :param value: what stands behind the colon and a blank; may be folded with CRLF and a blank.
    :param position: the index of the field that it goes before; None for the end of the header.
    :raises ValueError: that is no header field.
    """

    name: str
    value: str
    position: int | None = 0

    def __post_init__(self) -> None:
        _check_field(self.name, self.value)


@dataclass(frozen=True)
class ChangeHeader:
    """Change or remove a header field; without such a field, add it.

    :param value: what stands behind the colon and a blank; None to remove the field.
    :param occurrence: which of the fields of that name, from 1; None for each of them.
    :raises ValueError: that is no header field.
    """

    name: str
    value: str | None
    occurrence: int | None = None

    def __post_init__(self) -> None:
        _check_field(self.name, self.value or "")


def _check_path(path: object) -> None:
    if not isinstance(path, Path):
        raise TypeError(f"{path!r} is no mailkit.model.Path such as Path('ann', 'example.org')")


@dataclass(frozen=True)
class AddRecipient:
    """Send the message to somebody else too. The delivery may still refuse the address.

    :raises TypeError: that is no path.
    """

    path: Path
    parameters: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_path(self.path)


@dataclass(frozen=True)
class RemoveRecipient:
    """Take a recipient away; one that is not there is no error.

    :raises TypeError: that is no path.
    """

    path: Path

    def __post_init__(self) -> None:
        _check_path(self.path)


@dataclass(frozen=True)
class ChangeSender:
    """Change the reverse-path.

    :raises TypeError: that is no path.
    """

    path: Path

    def __post_init__(self) -> None:
        _check_path(self.path)


@dataclass(frozen=True)
class ReplaceBody:
    """Replace all that follows the header and its empty line.

    The lines of a text end with CRLF then, though they end with LF.

    :param content: the new body, such as ``Spool.from_bytes(octets)``; closed by whoever receives
        the answer.
    :raises TypeError: it is no spool.
    """

    content: Spool

    def __post_init__(self) -> None:
        if not isinstance(self.content, Spool):
            raise TypeError("the new body is a mailkit.spool.Spool: Spool.from_bytes(octets)")


Edit: TypeAlias = (
    AddHeader | ChangeHeader | AddRecipient | RemoveRecipient | ChangeSender | ReplaceBody
)
Answer: TypeAlias = Accept | Reject | Defer | Quarantine | Discard | Edit
#: What a step of a hook returns.
Answers: TypeAlias = Answer | Sequence[Answer] | None
#: The same from a step that may wait.
Result: TypeAlias = Answers | Awaitable[Answers]


class MailHook:
    """A hook that has no opinion: a base class for those that have one.

    The class of a hook says by the methods that it overrides which steps concern it. See
    :class:`~mailkit.interfaces.IMailHook` for what each step may answer.
    """

    #: Names the hook in the log and in the record kept with each message.
    name = ""
    #: Seconds that its steps may take, where that is not for the listener's settings to say: a hook
    #: that has time-outs of its own.
    timeouts: Mapping[Step, float] = MappingProxyType({})

    def connect(self, session: MailSession) -> Result:
        """A client has connected; nothing was sent to it yet."""

    def ehlo(self, session: MailSession) -> Result:
        """The client has said who it is."""

    def auth(self, session: MailSession) -> Result:
        """The client has logged in."""

    def mail(self, session: MailSession, envelope: Envelope) -> Result:
        """MAIL, before its reply."""

    def rcpt(self, session: MailSession, envelope: Envelope, recipient: Recipient) -> Result:
        """RCPT, after the delivery has agreed and before the reply."""

    def header(
        self, session: MailSession, envelope: Envelope, fields: Sequence[HeaderField]
    ) -> Result:
        """The header is complete, the body perhaps still on its way."""

    def message(self, session: MailSession, envelope: Envelope, message: Spool) -> Result:
        """The message is complete and not delivered yet."""

    def delivered(
        self, session: MailSession, envelope: Envelope, outcomes: Sequence[Outcome]
    ) -> Awaitable[None] | None:
        """The message was delivered, or was not; the client has its reply or is about to."""

    def disconnect(self, session: MailSession) -> Awaitable[None] | None:
        """The client is gone."""


_ALWAYS = (Accept, Reject, Defer)
_TRANSACTION = (*_ALWAYS, Quarantine, Discard, AddHeader, ChangeHeader, ChangeSender)
_MESSAGE = (*_TRANSACTION, AddRecipient, RemoveRecipient, ReplaceBody)
#: What each step may answer. Nobody looks at the answers of the others.
_ANSWERS: Mapping[Step, tuple[type[Any], ...]] = MappingProxyType(
    {
        Step.CONNECT: _ALWAYS,
        Step.EHLO: _ALWAYS,
        Step.AUTH: _ALWAYS,
        Step.MAIL: _TRANSACTION,
        Step.RCPT: _TRANSACTION,
        Step.HEADER: _TRANSACTION,
        Step.MESSAGE: _MESSAGE,
    }
)


def find_steps(hook: object) -> dict[Step, Callable[..., Any]]:
    """The steps that concern a hook, each with what is to be called.

    :raises ValueError: it is no hook, or a step does not take what it is asked with.
    """
    if isinstance(hook, type):
        raise ValueError(f"{hook.__name__} is a class: make a hook of it by calling it")
    found = {}
    for step in Step:
        method = getattr(hook, step.value, None)
        inherited = getattr(MailHook, step.value)
        if callable(method) and getattr(method, "__func__", None) is not inherited:
            found[step] = method
    if not found and callable(hook):
        found[Step.MESSAGE] = hook
    if not found and not isinstance(hook, MailHook):
        raise ValueError(f"{hook!r} is no hook: it has no step, and is no function")
    for step, ask in found.items():
        _check_arguments(step, ask)
    return found


def _check_arguments(step: Step, ask: Callable[..., Any]) -> None:
    wanted = list(inspect.signature(getattr(MailHook, step.value)).parameters)[1:]
    try:
        signature = inspect.signature(ask)
    except (TypeError, ValueError):
        # Of some that are written in C nobody knows.
        return
    try:
        signature.bind(**dict.fromkeys(wanted))
    except TypeError as error:
        name = getattr(ask, "__qualname__", repr(ask))
        raise ValueError(
            f"{name} is no hook for the step {step.value}: it is called with"
            f" {', '.join(wanted)}, by these names ({error})"
        ) from error


def check_answers(step: Step, result: Any) -> Sequence[Any]:
    """The answers that a step, up to ``message``, has given.

    :raises TypeError: one of them is none, or does not fit to the step; all are released.
    """
    if result is None:
        return ()
    answers = result if isinstance(result, (list, tuple)) else (result,)
    for answer in answers:
        if not isinstance(answer, _ANSWERS[step]):
            release(result)
            raise TypeError(f"{type(answer).__name__} is no answer in the step {step.value}")
    return answers


def release(result: Any) -> None:
    """Close what came with answers that are not needed any more."""
    for answer in result if isinstance(result, (list, tuple)) else (result,):
        if isinstance(answer, ReplaceBody):
            answer.content.close()
