"""What checks have in common: whom they concern, and what follows from what they find."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias, cast

from twisted.internet.interfaces import IReactorTime

from mailkit._typing import override
from mailkit.checks.networks import LOOPBACK, parse_address
from mailkit.hooks import (
    Answer,
    Answers,
    Defer,
    MailHook,
    MailSession,
    Quarantine,
    Reject,
    Result,
)
from mailkit.model import Envelope, Recipient
from mailkit.wire.networks import Networks

#: What follows: the client is refused for good, or for now; its mail is kept apart; it gets points
#: (:mod:`mailkit.checks.score`); nothing.
Action: TypeAlias = Literal["reject", "defer", "quarantine", "score", "none"]
ACTIONS: Sequence[Action] = ("reject", "defer", "quarantine", "score", "none")

#: Characters of a text from outside (DNS, the client) that are shown in a reply.
MAX_SHOWN = 200

# Addresses of which it is remembered whether they are exempt.
_REMEMBERED = 1024
_SCORES = "mailkit.checks.scores"
_EXCUSED = "mailkit.checks.excused"


class Finding(NamedTuple):
    """Something is wrong with a client or a message."""

    #: For the client.
    text: str
    action: Action
    points: float = 1.0
    #: Subject and detail of the enhanced status code (RFC 3463 section 2).
    detail: str = "7.1"
    #: Reply codes for ``reject`` and ``defer``.
    reject_code: int = 550
    defer_code: int = 450

    def answer(self) -> Answer | None:
        """What a step says to it; None when there is nothing to say."""
        if self.action == "reject":
            return Reject(self.text, self.reject_code, f"5.{self.detail}")
        if self.action == "defer":
            return Defer(self.text, self.defer_code, f"4.{self.detail}")
        return Quarantine(self.text) if self.action == "quarantine" else None


def check_actions(**settings: str) -> None:
    """:raises ValueError: one of them is no action."""
    for name, action in settings.items():
        if action not in ACTIONS:
            raise ValueError(f"{name} is one of {', '.join(ACTIONS)}, not {action!r}")


def shown(text: str) -> str:
    """A text from outside, fit for one line of a reply."""
    text = " ".join(text.split())
    clean = "".join(c if " " <= c <= "~" else "?" for c in text)
    return clean if len(clean) <= MAX_SHOWN else clean[: MAX_SHOWN - 3] + "..."


def given_or_default(clock: IReactorTime | None) -> IReactorTime:
    """The clock, or the reactor."""
    if clock is not None:
        return clock
    from twisted.internet import reactor

    return cast(IReactorTime, reactor)


# Points.


def scores(session: MailSession) -> dict[str, tuple[float, str]]:
    """The points that a client has now, with the reason, by check."""
    found: dict[str, tuple[float, str]] = session.facts.setdefault(_SCORES, {})
    return found


# Refusals that are nobody's fault.


def excuse(session: MailSession) -> None:
    """Let a refusal that comes now not count as an error of the client's.

    Whoever is told to come back later has done nothing wrong, be it a hundred times.
    """
    session.facts[_EXCUSED] = session.facts.get(_EXCUSED, 0) + 1


def errors_of(session: MailSession) -> int:
    """Commands of the client's that were refused, but for those that are excused."""
    excused: int = session.facts.get(_EXCUSED, 0)
    return max(0, session.errors - excused)


def exemption(networks: Sequence[str]) -> Callable[[str], bool]:
    """What tells whether an address is this machine's, or in one of some networks.

    :raises ValueError: a network is none.
    """
    # The same clients come again and again, and are asked about in each of their commands.
    return lru_cache(maxsize=_REMEMBERED)(Networks((*LOOPBACK, *networks)).__contains__)


class ClientCheck(MailHook, ABC):
    """A check of clients that bring mail from elsewhere.

    It concerns neither this machine nor users who have logged in, nor LMTP, whose clients are mail
    servers of our own. What it finds is said at RCPT: only there it is known who was to get the
    mail, and Postmaster can be spared (RFC 5321 section 4.5.1).

    :param exempt: networks that it does not concern either.
    :param spare_postmaster: take mail for Postmaster all the same.
    :raises ValueError: a network is none.
    """

    def __init__(self, *, exempt: Sequence[str] = (), spare_postmaster: bool = True) -> None:
        self._is_exempt = exemption(exempt)
        self._spare_postmaster = spare_postmaster
        # Two hooks of one class are apart.
        self.key = f"{type(self).__name__}.{id(self)}"

    def concerns(self, session: MailSession) -> bool:
        """Whether the client is one of those that the check is about."""
        connection = session.connection
        return (
            connection.protocol == "smtp"
            and session.account is None
            and bool(connection.peer)
            and connection.peer != connection.local
            and not self._is_exempt(connection.peer)
        )

    def concerns_recipient(self, session: MailSession, recipient: Recipient) -> bool:
        """Whether the check is about a client that has mail for that recipient."""
        spared = self._spare_postmaster and recipient.path.local_part.lower() == "postmaster"
        return not spared and self.concerns(session)

    @override
    def rcpt(self, session: MailSession, envelope: Envelope, recipient: Recipient) -> Result:
        if not self.concerns_recipient(session, recipient):
            return None
        return self.judge(session, envelope, recipient)

    @abstractmethod
    async def judge(
        self, session: MailSession, envelope: Envelope, recipient: Recipient
    ) -> Answers:
        """What RCPT of a client that the check is about is answered."""


class FindingCheck(ClientCheck):
    """A check that finds something of a client, or nothing: the same for all its recipients."""

    @abstractmethod
    async def find(self, session: MailSession, envelope: Envelope) -> Finding | None:
        """Judge the client, once for each transaction."""

    @override
    async def judge(
        self, session: MailSession, envelope: Envelope, recipient: Recipient
    ) -> Answers:
        key, facts = f"{self.key}.found", session.facts
        transaction, finding = facts.get(key, (None, None))
        first = transaction is not envelope
        if first:
            finding = await self.find(session, envelope)
            facts[key] = envelope, finding
            if finding is not None and finding.action == "score":
                scores(session)[self.key] = finding.points, finding.text
            else:
                scores(session).pop(self.key, None)
        answer = None if finding is None else cast(Finding, finding).answer()
        if isinstance(answer, Defer):
            excuse(session)
        # Once is enough to keep a message apart.
        return None if isinstance(answer, Quarantine) and not first else answer


def host_text(session: MailSession) -> str:
    """The client, for people: ``mx.example.org [192.0.2.1]``."""
    address = f"[{session.connection.peer}]"
    return f"{shown(session.client_name)} {address}" if session.client_name else address


def is_name(text: str) -> bool:
    """Whether it is a fully qualified name, neither an address nor a literal."""
    return "." in text.strip(".") and not text.startswith("[") and parse_address(text) is None
