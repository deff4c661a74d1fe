"""``--without-extension``: which extensions of SMTP a listener does not have."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from mailkit.tap.errors import SettingError

if TYPE_CHECKING:
    from mailkit.smtp.extensions.settings import Access, ExtensionSettings

#: What ``--without-extension SERVICE:NAME`` may name.
SERVICES = ("smtp", "lmtp", "submission")


def parse_switches(texts: Iterable[str]) -> dict[str, set[str]]:
    """The extensions that are off, by service, from ``NAME`` or ``SERVICE:NAME``.

    :raises SettingError: there is no such extension, or no such service.
    """
    # Loaded when used: an IMAP server has no need of SMTP.
    from mailkit.smtp.extensions.registry import EXTENSIONS
    from mailkit.smtp.lmtp import REQUIRED

    off: dict[str, set[str]] = {service: set() for service in SERVICES}
    known = sorted(extension.name for extension in EXTENSIONS)
    for text in texts:
        service, colon, name = text.rpartition(":")
        if name.upper() not in known:
            raise SettingError(f"there is no extension {name!r}; known are {', '.join(known)}")
        if colon and service not in off:
            raise SettingError(f"{service!r} has no extensions; known are {', '.join(SERVICES)}")
        if service == "lmtp" and name.upper() in REQUIRED:
            raise SettingError(f"LMTP must have {name.upper()}")
        for each in [service] if colon else SERVICES:
            off[each].add(name.upper())
    off["lmtp"] -= REQUIRED
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


def parse_bare_line_ends(text: str) -> str:
    """What becomes of a CR or LF that stands alone.

    :raises SettingError: that is none of the two ways.
    """
    if text not in ("refuse", "normalise"):
        raise SettingError(f"{text!r} is neither refuse nor normalise")
    return text


def parse_solicitation(text: str) -> tuple[str, ...]:
    """The classes that ``--no-soliciting`` names.

    :raises SettingError: one of them is none.
    """
    # Loaded when used, as below.
    from mailkit.smtp.extensions.settings import ExtensionSettings

    classes = tuple(word.strip() for word in text.split(","))
    try:
        ExtensionSettings(no_soliciting=classes)
    except ValueError as error:
        raise SettingError(f"{text!r}: {error}") from error
    return classes


def extension_settings(
    without: Collection[str],
    vrfy: str | None,
    expn: str | None,
    no_soliciting: str | None,
    xclient_from: Mapping[str, Collection[str]],
    etrn: bool,
) -> dict[str, ExtensionSettings]:
    """The settings of each service that has others than its own.

    :param without: what ``--without-extension`` takes.
    :param vrfy: what ``--vrfy`` takes, and so on.
    :param xclient_from: who may say XCLIENT, by service.
    :param etrn: clients that have not logged in may ask too: who may is known elsewhere.
    :raises SettingError: one of them cannot be.
    """
    off = parse_switches(without) if without else {}
    unwanted = parse_solicitation(no_soliciting) if no_soliciting else ()
    changed = bool(off or vrfy or expn or unwanted or etrn)
    services = [name for name in SERVICES if changed or xclient_from.get(name)]
    if not services:
        return {}
    # Loaded when used, as above.
    from mailkit.smtp.extensions.settings import ExtensionSettings

    return {
        name: ExtensionSettings(
            without=tuple(off.get(name, ())),
            vrfy=parse_access(vrfy or "never"),
            expn=parse_access(expn or "never"),
            xclient_from=xclient_from.get(name) or (),
            no_soliciting=unwanted,
            etrn=parse_access("everyone" if etrn else "authenticated"),
        )
        for name in services
    }


class ExtensionOptions:
    """The options, for commands that serve SMTP."""

    optParameters: ClassVar[list[list[Any]]] = [
        [
            "vrfy",
            None,
            None,
            "Who is told by VRFY which addresses exist: never, authenticated or everyone"
            " [default: never]",
        ],
        ["expn", None, None, "The same for EXPN and the members of aliases [default: never]"],
        [
            "no-soliciting",
            None,
            None,
            "Refuse advertisements of these classes, such as org.example:ADV,org.example:ADV:ADLT"
            " (RFC 3865)",
        ],
        [
            "bare-line-ends",
            None,
            None,
            "What to do with a message in which a CR or LF stands alone: refuse or normalise"
            " [default: refuse, but normalise for submission]",
        ],
    ]
    without_extensions: list[str]
    xclient: list[str]

    def opt_without_extension(self, name: str) -> None:
        """Switch the SMTP extension NAME off, such as CHUNKING; for one service with
        SERVICE:NAME, such as smtp:CHUNKING. May be repeated."""
        self.without_extensions.append(name)

    def opt_xclient_from(self, network: str) -> None:
        """Believe clients at this address or NETWORK, or on `unix` sockets, when they tell by
        XCLIENT or XFORWARD for whom they speak; for one service with SERVICE:NETWORK. May be
        repeated."""
        self.xclient.append(network)
