"""All extensions, and those of one listener."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from mailkit.model import Ability
from mailkit.smtp.extensions import (
    basic,
    burl,
    chunking,
    deliverby,
    dsn,
    etrn,
    futurerelease,
    limits,
    priority,
    queries,
    requiretls,
    rrvs,
    soliciting,
    xclient,
)
from mailkit.smtp.extensions.extension import Extension, MailParameter, RecipientParameter
from mailkit.smtp.grammar import Reply
from mailkit.smtp.handlers import NOT_IMPLEMENTED, Command

if TYPE_CHECKING:
    from mailkit.smtp.protocol import SMTPProtocol

#: In the order in which EHLO tells them.
EXTENSIONS: Sequence[Extension] = (
    basic.SIZE,
    basic.EIGHTBITMIME,
    basic.PIPELINING,
    basic.SMTPUTF8,
    basic.ENHANCEDSTATUSCODES,
    basic.STARTTLS,
    basic.AUTH,
    chunking.CHUNKING,
    chunking.BINARYMIME,
    burl.BURL,
    dsn.DSN,
    requiretls.REQUIRETLS,
    deliverby.DELIVERBY,
    priority.MT_PRIORITY,
    futurerelease.FUTURERELEASE,
    soliciting.NO_SOLICITING,
    rrvs.RRVS,
    etrn.ETRN,
    queries.VRFY,
    queries.EXPN,
    limits.LIMITS,
    xclient.XCLIENT,
    xclient.XFORWARD,
    basic.HELP,
)


@lru_cache(maxsize=64)
def _render(lines: tuple[str, ...]) -> bytes:
    # It is the same for most clients.
    return Reply(250, "", "\n".join(lines)).render() if lines else b""


class ExtensionSet:
    """The extensions of one listener, ready to be looked up.

    :param switched_off: names in capitals; one that does not exist is an error.
    :raises ValueError: a name is unknown.
    """

    def __init__(self, extensions: Iterable[Extension], switched_off: frozenset[str]) -> None:
        known = {extension.name: extension for extension in extensions}
        unknown = sorted(switched_off - known.keys())
        if unknown:
            raise ValueError(f"no extension {unknown[0]}; known are {', '.join(sorted(known))}")
        #: Those that are on, by name.
        self.by_name: dict[str, Extension] = {}
        for extension in known.values():
            if extension.name not in switched_off and not switched_off & {*extension.needs}:
                self.by_name[extension.name] = extension
        on = self.by_name.values()
        self._by_verb = {verb: each for each in on for verb in each.commands}
        # What EHLO tells, by what the delivery promises: lines, and extensions whose line depends on
        # more of the client.
        self._announced: dict[frozenset[Ability], list[str | Extension]] = {}
        off = [each for each in known.values() if each.name not in self.by_name]
        #: The verbs; those of extensions that are off are known, and not implemented.
        self.commands: dict[bytes, Command] = {}
        for each in off:
            self.commands.update(dict.fromkeys(each.commands, NOT_IMPLEMENTED))
            self.commands.update(each.commands_off)
        for each in on:
            self.commands.update(each.commands)
        self.mail_parameters: dict[str, tuple[Extension, MailParameter]] = {
            keyword: (each, judge) for each in on for keyword, judge in each.mail_parameters.items()
        }
        self.recipient_parameters: dict[str, tuple[Extension, RecipientParameter]] = {
            keyword: (each, judge)
            for each in on
            for keyword, judge in each.recipient_parameters.items()
        }

    def lines(self, connection: SMTPProtocol) -> list[str]:
        """What EHLO tells this client."""
        abilities = connection.abilities
        announced = self._announced.get(abilities)
        if announced is None:
            found = [each.announced(connection) for each in self.by_name.values()]
            announced = [each for each in found if each is not None]
            self._announced[abilities] = announced
        lines = []
        for each in announced:
            line = each if isinstance(each, str) else each.line(connection)
            if line is not None:
                lines.append(line)
        return lines

    def render_lines(self, connection: SMTPProtocol) -> bytes:
        """The same as the octets behind the first line of the reply."""
        return _render(tuple(self.lines(connection)))

    def serves(self, verb: bytes, connection: SMTPProtocol) -> bool:
        """Whether this client may use a command now, as far as it is an extension's."""
        extension = self._by_verb.get(verb)
        return extension is None or extension.line(connection) is not None
