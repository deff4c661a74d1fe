"""``--without-capability``: what the IMAP server does not offer, to all or to some clients."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mailkit.tap.errors import SettingError
from mailkit.tap.strict_options import StrictOptions

if TYPE_CHECKING:
    from mailkit.imap.clients import ClientRule

#: Rules for clients that settings may have.
MAX_CLIENTS = 100
_KEYS = frozenset(("match", "without", "quirks"))


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


def parse_quirks(names: Iterable[str]) -> frozenset[str]:
    """The quirks of a server, from ``NAME`` for one that is on and ``no-NAME`` for one that is off.

    :raises SettingError: there is no such quirk.
    """
    from mailkit.imap.quirks import DEFAULT_QUIRKS

    texts = list(names)
    off = _quirks(name[3:] for name in texts if name.startswith("no-"))
    return (DEFAULT_QUIRKS | _quirks(name for name in texts if not name.startswith("no-"))) - off


def _quirks(names: Iterable[str]) -> frozenset[str]:
    from mailkit.imap.quirks import checked_quirks

    try:
        return checked_quirks(names)
    except ValueError as error:
        raise SettingError(str(error)) from error


def parse_clients(table: Mapping[str, Any]) -> list[ClientRule]:
    """Rules for clients, from the table ``[imap-clients]`` of a settings file.

    :param table: by the rule's name: ``match``, a table of fields of ID and patterns, and
        ``without``, a list of capabilities, or ``quirks``, a list of quirks.
    :raises SettingError: a rule is none.
    """
    from mailkit.imap.clients import ClientRule

    if len(table) > MAX_CLIENTS:
        raise SettingError(f"there are more than {MAX_CLIENTS} rules")
    rules = []
    for name, rule in table.items():
        if not isinstance(rule, Mapping) or rule.keys() - _KEYS:
            raise SettingError(f"{name} must be a table of {', '.join(sorted(_KEYS))}")
        match = rule.get("match")
        if not (isinstance(match, Mapping) and match and _are_strings(match.values())):
            raise SettingError(f'{name} needs match, as in {{ name = "Example*" }}')
        lists = {key: rule.get(key, []) for key in ("without", "quirks")}
        for key, values in lists.items():
            if not (isinstance(values, list) and _are_strings(values)):
                raise SettingError(f"{name}: {key} must be an array of strings")
        try:
            off, quirks = parse_capabilities(lists["without"]), _quirks(lists["quirks"])
        except SettingError as error:
            raise SettingError(f"{name}: {error}") from error
        rules.append(ClientRule(name, tuple(match.items()), off, quirks))
    return rules


def capability_settings(
    without: Collection[str], quirks: Collection[str], clients: Mapping[str, Any]
) -> dict[str, Any]:
    """Parameters of :class:`~mailkit.imap.protocol.IMAPFactory`, from what the settings are.

    :param without: what ``--without-capability`` takes.
    :param quirks: what ``--imap-quirk`` takes.
    :param clients: what :func:`parse_clients` takes.
    :raises SettingError: one of them cannot be.
    """
    settings: dict[str, Any] = {}
    if without:
        settings["without"] = parse_capabilities(without)
    if quirks:
        settings["quirks"] = parse_quirks(quirks)
    if clients:
        settings["clients"] = parse_clients(clients)
    return settings


def _are_strings(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


class CapabilityOptions(StrictOptions):
    """The options, for commands that serve IMAP."""

    list_settings = ["without-capability", "imap-quirk"]
    table_settings = ["imap-clients"]

    def opt_without_capability(self, name: str) -> None:
        """Switch the IMAP capability NAME off, such as MOVE, with what it brings. May be
        repeated."""
        self.lists["without-capability"].append(name)

    def opt_imap_quirk(self, name: str) -> None:
        """Do NAME for clients that get something wrong: delay-newmail, extra-separator,
        imaplib-utf8, keep-idle; the last three are on unless NAME is no- and the name. May be
        repeated."""
        self.lists["imap-quirk"].append(name)
