"""``--without-extension``: which extensions of SMTP a listener does not have."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from mailkit.tap.errors import SettingError
from mailkit.tap.listeners import MAIL_SCOPES, Scopes, lineage
from mailkit.tap.strict_options import StrictOptions
from mailkit.tap.values import check_number

if TYPE_CHECKING:
    from mailkit.smtp.extensions.settings import Access, ExtensionSettings

# What ``[smtp-extensions]`` may have: fields of ExtensionSettings.
_ACCESS = ("vrfy", "expn", "trust-submitter")
_TEXTS = (*_ACCESS, "priority-policy")
_LISTS = ("without", "no-soliciting")
_NUMBERS = ("max-hold", "min-deliver-by")


def parse_switches(texts: Iterable[str], names: Scopes = MAIL_SCOPES) -> dict[str, set[str]]:
    """The extensions that are off, by service and listener, from ``NAME`` or ``SERVICE:NAME``.

    :raises SettingError: there is no such extension, or no such service.
    """
    # Loaded when used: an IMAP server has no need of SMTP.
    from mailkit.smtp.extensions.registry import EXTENSIONS
    from mailkit.smtp.lmtp import REQUIRED

    off: dict[str, set[str]] = {each: set() for each in names}
    known = sorted(extension.name for extension in EXTENSIONS)
    for text in texts:
        service, colon, name = text.rpartition(":")
        if name.upper() not in known:
            raise SettingError(f"there is no extension {name!r}; known are {', '.join(known)}")
        if colon and service not in off:
            raise SettingError(f"{service!r} has no extensions; known are {', '.join(names)}")
        if service in names["lmtp"] and name.upper() in REQUIRED:
            raise SettingError(f"LMTP must have {name.upper()}")
        for each in names[service] if colon else names:
            off[each].add(name.upper())
    for each in names["lmtp"]:
        off[each] -= REQUIRED
    return off


def parse_access(text: str) -> Access:
    """Who may use something.

    :raises SettingError: nobody is meant by that.
    """
    # Loaded when used, as above.
    from mailkit.smtp.extensions.settings import Access

    known = {access.value: access for access in Access}
    if text not in known:
        raise SettingError(f"{text!r} is none of {', '.join(known)}")
    return known[text]


def parse_bare_line_ends(texts: Iterable[str], names: Scopes = MAIL_SCOPES) -> dict[str, str]:
    """What becomes of a CR or LF that stands alone, by service and listener where that is said, from
    ``WAY`` or ``SERVICE:WAY``.

    :raises SettingError: that is none of the two ways, or there is no such service.
    """
    ways: list[tuple[Collection[str], str]] = []
    for text in texts:
        service, colon, way = text.rpartition(":")
        if way not in ("refuse", "normalise"):
            raise SettingError(f"{way!r} is neither refuse nor normalise")
        if colon and service not in names:
            raise SettingError(f"{service!r} takes no mail; known are {', '.join(names)}")
        ways.append((names[service] if colon else tuple(names), way))
    # What is for fewer goes over what is for more.
    ways.sort(key=lambda each: -len(each[0]))
    return {name: way for heirs, way in ways for name in heirs}


def parse_solicitation(text: str) -> tuple[str, ...]:
    """The classes that ``--no-soliciting`` names.

    :raises SettingError: one of them is none.
    """
    classes = tuple(word.strip() for word in text.split(","))
    _make_settings(no_soliciting=classes)
    return classes


def parse_extension_table(
    table: Mapping[str, Any], names: Scopes = MAIL_SCOPES
) -> dict[str, dict[str, Any]]:
    """The table ``[smtp-extensions]`` of a settings file: settings by service and listener.

    Those of a service's own table, ``[smtp-extensions.submission]``, go before those for all, and those
    of a listener's before both.

    :raises SettingError: a setting is not known, or makes no sense.
    """
    if not table:
        return {}
    for_all = {key: value for key, value in table.items() if key not in names}
    found = {}
    for name in names:
        values, places = dict(for_all), dict.fromkeys(for_all, "")
        for each in lineage(name, names):
            own = table.get(each, {})
            if not isinstance(own, Mapping):
                raise SettingError(f"{each} must be a table")
            values |= own
            places |= dict.fromkeys(own, f"{each}:")
        found[name] = {
            key.replace("-", "_"): _parse_setting(name, names, key, value, places[key])
            for key, value in values.items()
        }
        _make_settings(**found[name])
    return found


def _parse_setting(name: str, names: Scopes, key: str, value: Any, place: str) -> Any:
    if key in _NUMBERS:
        return check_number(key, value, int)
    if isinstance(value, Mapping):
        raise SettingError(f"{key!r} takes no mail; known are {', '.join(names)}")
    if key not in _TEXTS and key not in _LISTS:
        known = ", ".join((*_TEXTS, *_LISTS, *_NUMBERS))
        raise SettingError(f"there is no {key!r}; known are {known}")
    texts = value if isinstance(value, list) and key in _LISTS else [value]
    if not all(isinstance(text, str) for text in texts):
        raise SettingError(f"{key} must be {'texts' if key in _LISTS else 'a text'}")
    if key in _ACCESS:
        return parse_access(value)
    if key == "without":
        return tuple(parse_switches([f"{place}{text}" for text in texts], names)[name])
    return tuple(texts) if key in _LISTS else value


def _make_settings(**values: Any) -> ExtensionSettings:
    # Loaded when used, as below.
    from mailkit.smtp.extensions.settings import ExtensionSettings

    try:
        return ExtensionSettings(**values)
    except ValueError as error:
        raise SettingError(str(error)) from error


def extension_settings(
    without: Collection[str],
    vrfy: str | None,
    expn: str | None,
    no_soliciting: str | None,
    xclient_from: Mapping[str, Collection[str]],
    etrn: bool,
    table: Mapping[str, Any] | None = None,
    names: Scopes = MAIL_SCOPES,
) -> dict[str, ExtensionSettings]:
    """The settings of each service and listener that has others than its own.

    :param without: what ``--without-extension`` takes.
    :param vrfy: what ``--vrfy`` takes, and so on.
    :param xclient_from: who may say XCLIENT, by service.
    :param etrn: clients that have not logged in may ask too: who may is known elsewhere.
    :param table: what :func:`parse_extension_table` takes; what is off by ``without`` stays off.
    :param names: services that take mail, and their named listeners.
    :raises SettingError: one of them cannot be.
    """
    off = parse_switches(without, names) if without else {}
    unwanted = parse_solicitation(no_soliciting) if no_soliciting else ()
    own = parse_extension_table(table or {}, names)
    changed = bool(off or vrfy or expn or unwanted or etrn or own)
    settings: dict[str, ExtensionSettings] = {}
    for name in names:
        if changed or xclient_from.get(name):
            values = own.get(name, {})
            values["without"] = tuple({*off.get(name, ()), *values.get("without", ())})
            made = {
                "vrfy": parse_access(vrfy or "never"),
                "expn": parse_access(expn or "never"),
                "xclient_from": xclient_from.get(name) or (),
                "no_soliciting": unwanted,
                "etrn": parse_access("everyone" if etrn else "authenticated"),
                **values,
            }
            settings[name] = _make_settings(**made)
    return settings


class ExtensionOptions(StrictOptions):
    """The options, for commands that take mail."""

    optParameters: ClassVar[list[list[Any]]] = [
        [
            "vrfy",
            None,
            None,
            "Who is told by VRFY which addresses exist: never, authenticated or everyone"
            " [default: never]",
        ],
        [
            "expn",
            None,
            None,
            "Who is told by EXPN to whom an alias leads: never, authenticated or everyone"
            " [default: never]",
        ],
        [
            "no-soliciting",
            None,
            None,
            "Refuse advertisements of these classes, such as org.example:ADV,org.example:ADV:ADLT"
            " (RFC 3865)",
        ],
    ]
    list_settings = ["without-extension", "bare-line-ends", "xclient-from"]
    table_settings = ["smtp-extensions", "smtp-limits", "checks"]

    def opt_without_extension(self, name: str) -> None:
        """Switch the SMTP extension NAME off, such as CHUNKING; for one service with
        SERVICE:NAME, such as smtp:CHUNKING. May be repeated."""
        self.lists["without-extension"].append(name)

    def opt_bare_line_ends(self, way: str) -> None:
        """What to do with a message in which a CR or LF stands alone: refuse or normalise
        [default: refuse, but normalise for submission]; for one service with SERVICE:WAY. May be
        repeated."""
        self.lists["bare-line-ends"].append(way)

    def opt_xclient_from(self, network: str) -> None:
        """Believe clients at this address or NETWORK, or on `unix` sockets, when they tell by
        XCLIENT or XFORWARD for whom they speak; for one service with SERVICE:NETWORK. May be
        repeated."""
        self.lists["xclient-from"].append(network)
