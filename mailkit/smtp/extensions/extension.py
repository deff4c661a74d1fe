"""What an extension is: a value that says what it announces and what it adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from mailkit.model import Ability, Envelope, Recipient
from mailkit.smtp.grammar import Reply
from mailkit.smtp.handlers import Command

if TYPE_CHECKING:
    from mailkit.smtp.protocol import SMTPProtocol

#: Judges the value of a parameter of MAIL and writes what it means into the envelope. May give a
#: reply that takes the place of 250. Raises :class:`~mailkit.smtp.grammar.Refused`.
MailParameter = Callable[["SMTPProtocol", Envelope, "str | None"], "Reply | None"]
#: The same for RCPT: gives the recipient with what the value means.
RecipientParameter = Callable[["SMTPProtocol", Envelope, Recipient, "str | None"], Recipient]


class OfListener:
    """What is the same for all clients of a listener, so that EHLO asks once.

    :param ask: whether an extension is available, or what it announces.
    """

    __slots__ = ("_ask",)

    def __init__(self, ask: Callable[[SMTPProtocol], Any]) -> None:
        self._ask = ask

    def __call__(self, connection: SMTPProtocol) -> Any:
        return self._ask(connection)


#: Available to everybody; announced by the keyword alone.
_always = OfListener(lambda connection: True)
_keyword_alone = OfListener(lambda connection: "")


class Promised:
    """Available where the delivery can promise something.

    :param condition: what else must be, for this client.
    """

    __slots__ = ("ability", "condition")

    def __init__(
        self, ability: Ability, condition: Callable[[SMTPProtocol], bool] | None = None
    ) -> None:
        self.ability = ability
        self.condition = condition

    def __call__(self, connection: SMTPProtocol) -> bool:
        if self.ability not in connection.abilities:
            return False
        return self.condition is None or self.condition(connection)


class Extension(NamedTuple):
    """A service extension (RFC 5321 section 2.2)."""

    #: The keyword of EHLO, and what an administrator switches it off by.
    name: str
    #: Whether this client may use it now.
    available: Callable[[SMTPProtocol], bool] = _always
    #: What stands behind the keyword; None to be silent about it.
    announce: Callable[[SMTPProtocol], str | None] = _keyword_alone
    mail_parameters: Mapping[str, MailParameter] = {}
    recipient_parameters: Mapping[str, RecipientParameter] = {}
    commands: Mapping[bytes, Command] = {}
    #: What its verbs do while it is switched off, where 502 is not enough.
    commands_off: Mapping[bytes, Command] = {}
    #: Extensions that it makes no sense without.
    needs: tuple[str, ...] = ()
    #: The reply to its parameters while it is not available; 555 when None.
    refusal: Reply | None = None

    def line(self, connection: SMTPProtocol) -> str | None:
        """What EHLO tells this client of it now; None when it may not use it."""
        if not self.available(connection) or (rest := self.announce(connection)) is None:
            return None
        return f"{self.name} {rest}" if rest else self.name

    def announced(self, connection: SMTPProtocol) -> str | Extension | None:
        """What EHLO tells of it to all clients whose deliveries promise what this one's does.

        :returns: a line, itself where that depends on more of the client, or None for nothing.
        """
        available = self.available
        if isinstance(available, Promised):
            if available.ability not in connection.abilities:
                return None
            available = available.condition or _always
        if not isinstance(available, OfListener):
            return self
        if not available(connection):
            return None
        return self.line(connection) if isinstance(self.announce, OfListener) else self
