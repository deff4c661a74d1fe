"""``--without-capability``: what the IMAP server does not offer, to all or to some clients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mailkit.tap.errors import SettingError

if TYPE_CHECKING:
    from mailkit.imap.clients import ClientRule

#: Rules for clients that settings may have.
MAX_CLIENTS = 100


def parse_capabilities(names: Iterable[str]) -> frozenset[str]:
    """Names of IMAP capabilities that are to be left out, from ``NAME`` or ``imap:NAME``.

    :raises SettingError: there is no such capability, or the server cannot be without it.
    """
    # Loaded when used: an SMTP server has no need of IMAP.
    from mailkit.imap.handlers.registry import checked_names

    wanted = []
    for text in names:
        service, colon, name = text.rpartition(":")
        if colon and service != "imap":
            raise SettingError(f"{service!r} has no capabilities to switch off; imap has")
        wanted.append(name)
    try:
        return checked_names(wanted)
    except ValueError as error:
        raise SettingError(str(error)) from error


def parse_clients(table: Mapping[str, Any]) -> list[ClientRule]:
    """Rules for clients, from the table ``[imap-clients]`` of a settings file.

    :param table: by the rule's name: ``match``, a table of fields of ID and patterns, and
        ``without``, a list of capabilities.
    :raises SettingError: a rule is none.
    """
    from mailkit.imap.clients import ClientRule

    if len(table) > MAX_CLIENTS:
        raise SettingError(f"there are more than {MAX_CLIENTS} rules")
    rules = []
    for name, rule in table.items():
        if not isinstance(rule, Mapping) or rule.keys() - {"match", "without"}:
            raise SettingError(f"{name} must be a table with match and without")
        match, without = rule.get("match"), rule.get("without", [])
        if not (isinstance(match, Mapping) and match and _are_strings(match.values())):
            raise SettingError(f'{name} needs match, as in {{ name = "Example*" }}')
        if not (isinstance(without, list) and _are_strings(without)):
            raise SettingError(f"{name}: without must be an array of strings")
        try:
            off = parse_capabilities(without)
        except SettingError as error:
            raise SettingError(f"{name}: {error}") from error
        rules.append(ClientRule(name, tuple(match.items()), off))
    return rules


def _are_strings(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


class CapabilityOptions:
    """The option, for commands that serve IMAP."""

    without_capabilities: list[str]

    def opt_without_capability(self, name: str) -> None:
        """Switch the IMAP capability NAME off, such as MOVE, with what it brings. May be
        repeated."""
        self.without_capabilities.append(name)
