"""Values of options and settings, as text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from mailkit.sasl import choose_mechanisms
from mailkit.tap.errors import SettingError

_SIZE = re.compile(r"(\d{1,15})\s*([kKmMgG]?)(?:i?[bB])?\Z")
# Also an address literal, for machines without a name.
_HOSTNAME = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Za-z:.]+\])\Z")
#: What errors call the kinds of values in a settings file.
KIND_NAMES: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a table",
}
#: The most that a time in seconds, a rate or a score may be: 300 years.
MAX_FRACTION = 1e10
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def parse_size(text: str) -> int:
    """Octets from ``26214400``, ``25M`` or ``1G``.

    :raises SettingError: it is no size.
    """
    match = _SIZE.match(text.strip())
    size = int(match[1]) * _UNITS[match[2].lower()] if match else 0
    if not 0 < size < 2**63:
        raise SettingError(f"{text!r} is no size: write 25M, or a number of octets")
    return size


def parse_count(text: str) -> int:
    """A number above zero.

    :raises SettingError: it is none.
    """
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**31):
        raise SettingError(f"{text!r} is no number above 0")
    return int(text)


def check_number(key: str, value: Any, kind: type[int] | type[float], least: float = 1) -> Any:
    """A value of a settings file, when it is a number of that kind; whole ones are of both.

    :raises SettingError: it is none, less than ``least``, or out of all measure.
    """
    if isinstance(value, bool) or not isinstance(value, (int, kind)):
        raise SettingError(f"{key} must be {KIND_NAMES[kind]}")
    if value < least:
        raise SettingError(f"{key} must be at least {least}")
    if kind is float:
        check_measure(key, value)
    return value


def check_measure(key: str, value: float) -> None:
    """Refuse a time, a rate or a score that no clock and no store has room for.

    :raises SettingError: it is out of all measure.
    """
    if abs(value) > MAX_FRACTION:
        raise SettingError(f"{key} is out of all measure")


def check_numbers(
    table: Mapping[str, Any], kinds: Mapping[str, type[int] | type[float]]
) -> dict[str, Any]:
    """Numbers of a table of a settings file, named as parameters are.

    :raises SettingError: there is another one, or one makes no sense.
    """
    for key in table:
        if key not in kinds:
            raise SettingError(f"there is no {key!r}; known are {', '.join(kinds)}")
    return {
        key.replace("-", "_"): check_number(key, value, kinds[key]) for key, value in table.items()
    }


def check_hostname(name: str) -> str:
    """The name, when it can stand in a greeting (RFC 5321 section 4.1.2).

    :raises SettingError: it cannot.
    """
    if not _HOSTNAME.match(name) or len(name) > 255:
        raise SettingError(f"{name!r} is no host name such as mail.example.org")
    return name


def parse_separator(text: str) -> str:
    """What parts two user names: visible ASCII that addresses and sub-addresses do without.

    :raises SettingError: it cannot.
    """
    if not re.fullmatch(r"[!#$%&*/=?^|~:;<>,]{1,3}", text):
        raise SettingError(f"{text!r} cannot part two user names; take * or another such sign")
    return text


def parse_mechanisms(text: str) -> tuple[str, ...]:
    """Names of SASL mechanisms, with commas between them, in capitals.

    :raises SettingError: there is none of that name.
    """
    names = [name.strip().upper() for name in text.split(",")]
    if not all(names):
        raise SettingError(f"{text!r} must be names with commas between them, such as PLAIN,LOGIN")
    try:
        return tuple(mechanism.name for mechanism in choose_mechanisms(names))
    except ValueError as error:
        raise SettingError(str(error)) from None


def parse_file_quota(text: str) -> tuple[int | None, int | None]:
    """Octets, and files and directories, from ``10G``, ``10G,50000`` or ``,50000``.

    None for what is not said, 0 for ``none``.

    :raises SettingError: it is no such quota.
    """
    octets, _, files = (part.strip() for part in text.partition(","))
    try:
        return (
            parse_limit(octets, parse_size) if octets else None,
            parse_limit(files, parse_count) if files else None,
        )
    except SettingError as error:
        raise SettingError(f"{text!r} is no quota such as 10G or 10G,50000: {error}") from None


def parse_limit(text: str, parse: Callable[[str], int]) -> int:
    """A limit, or 0 for ``none``.

    :raises SettingError: it is neither.
    """
    return 0 if text == "none" else parse(text)
