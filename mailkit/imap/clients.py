"""What is different for clients of a certain program, as rules (RFC 2971). No I/O.

RFC 2971 section 3 has ID for statistics and for people who look for a fault: a server MUST NOT work
around a client's bugs by it. So there are no rules unless an operator writes some, who knows both
the program and the users.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple


class ClientRule(NamedTuple):
    """What is different for a client whose ID has these fields."""

    #: Names the rule for people.
    name: str
    #: Fields of ID, each with a pattern that its value must match in any letter case: ``*`` stands
    #: for anything, ``?`` for one character.
    fields: tuple[tuple[str, str], ...]
    #: Names of capabilities.
    without: frozenset[str] = frozenset()
    #: Quirks (:data:`mailkit.imap.quirks.QUIRKS`) that are on besides the server's.
    quirks: frozenset[str] = frozenset()

    def matches(self, fields: Mapping[str, str]) -> bool:
        """:param fields: what the client has sent, names in small letters."""
        return all(
            fnmatchcase(fields.get(name.lower(), "").lower(), pattern.lower())
            for name, pattern in self.fields
        )


def find_rule(rules: Iterable[ClientRule], fields: Mapping[str, str]) -> ClientRule | None:
    """The first rule for a client.

    :param fields: what it has sent, names in any letter case (RFC 2971 section 3.3).
    """
    lowered = {name.lower(): value for name, value in fields.items()}
    return next((rule for rule in rules if rule.matches(lowered)), None)
