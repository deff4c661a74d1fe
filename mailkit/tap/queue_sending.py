"""Settings of ``[queue]`` and of its routes that say how connections are made, and how many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mailkit.client.racing import (
    ATTEMPT_DELAY,
    MAX_ATTEMPT_DELAY,
    MIN_ATTEMPT_DELAY,
    family,
)
from mailkit.queue.opening import Sources
from mailkit.queue.pacing import PaceSettings
from mailkit.smtp.client import ClientSettings, Timeouts
from mailkit.smtp.client.settings import TIMEOUTS
from mailkit.tap.errors import SettingError
from mailkit.tap.values import KIND_NAMES, check_hostname, check_measure, check_numbers
from mailkit.wire.sasl_client import CLIENT_MECHANISMS, Credentials, SASLClient

#: What ``timeouts`` may have: the fields of ``Timeouts``.
_TIMEOUTS: Mapping[str, type[float]] = {name.replace("_", "-"): float for name in Timeouts._fields}

#: Keys, each with the kind of its value.
KEYS: Mapping[str, type] = {
    "bind": list,
    "helo": str,
    "attempt-delay": float,
    "max-connections": int,
    "rate": float,
    "dead-time": float,
    "pipelined-messages": bool,
    "mechanisms": list,
    "timeouts": dict,
}


@dataclass(frozen=True)
class SendingSettings:
    """How connections are made, and how many.

    :param helo: what we call ourselves; the server's name when empty.
    :param names: the same for connections from certain addresses of this machine.
    :param mechanisms: of SASL, the one to prefer first.
    :param timeouts: of each step with a server.
    """

    pace: PaceSettings = field(default_factory=PaceSettings)
    sources: Sources = field(default_factory=Sources)
    helo: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    mechanisms: Mapping[str, Callable[[Credentials], SASLClient]] = field(
        default_factory=lambda: CLIENT_MECHANISMS
    )
    timeouts: Timeouts = TIMEOUTS

    def client(self, hostname: str, **settings: Any) -> ClientSettings:
        """How to speak to servers."""
        return ClientSettings(
            helo=self.helo or hostname,
            helo_by_address=self.names,
            mechanisms=self.mechanisms,
            timeouts=self.timeouts,
            **settings,
        )


def read_table(
    table: Mapping[str, Any], kinds: Mapping[str, type], more: Iterable[str] = ()
) -> dict[str, Any]:
    """The settings of a table, of the right kinds, by their names with hyphens.

    A list of one may be that one.

    :param more: keys that others have read.
    :raises SettingError: one is not known, or is of another kind.
    """
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("_", "-")
        kind = kinds.get(name)
        if kind is None:
            raise SettingError(
                f"there is no setting {key!r}; known are {', '.join([*kinds, *more])}"
            )
        if kind is float and type(value) is int:
            check_measure(key, value)
            value = float(value)
        if kind is list and isinstance(value, str):
            value = [value]
        if type(value) is not kind:
            raise SettingError(f"{key} must be {KIND_NAMES[kind]}")
        values[name] = value
    intervals = values.get("intervals", [])
    if not all(type(each) in (int, float) for each in intervals):
        raise SettingError("intervals must be numbers of seconds")
    for each in intervals:
        check_measure("intervals", each)
    return values


def take_sending(values: dict[str, Any]) -> SendingSettings:
    """Take the settings out of a table that was read.

    :raises SettingError: one makes no sense.
    """
    addresses: dict[int, str] = {}
    names: dict[str, str] = {}
    for text in values.pop("bind", []):
        address, _, name = str(text).partition("=")
        try:
            kind = family(address)
        except ValueError:
            raise SettingError(
                f"bind: {text!r} is no address such as 192.0.2.1, or 192.0.2.1=mail.example.org"
            ) from None
        if kind in addresses:
            raise SettingError(f"bind has two addresses of IPv{kind}")
        addresses[kind] = address
        if name:
            names[address] = _take_helo(name)
    delay = values.pop("attempt-delay", ATTEMPT_DELAY)
    if not MIN_ATTEMPT_DELAY <= delay <= MAX_ATTEMPT_DELAY:
        raise SettingError(f"attempt-delay is {MIN_ATTEMPT_DELAY} to {MAX_ATTEMPT_DELAY:g} seconds")
    pace = {
        key.replace("-", "_"): values.pop(key)
        for key in ("max-connections", "rate", "dead-time", "pipelined-messages")
        if key in values
    }
    try:
        return SendingSettings(
            PaceSettings(**pace),
            Sources(addresses, delay),
            _take_helo(values.pop("helo", "")),
            names,
            _take_mechanisms(values),
            _take_timeouts(values),
        )
    except ValueError as error:
        raise SettingError(str(error).replace("_", "-")) from error


def _take_helo(name: str) -> str:
    """:raises SettingError: it cannot stand in EHLO."""
    try:
        return check_hostname(name) if name else name
    except SettingError as error:
        raise SettingError(f"helo: {error}") from None


def _take_timeouts(values: dict[str, Any]) -> Timeouts:
    try:
        return TIMEOUTS._replace(**check_numbers(values.pop("timeouts", {}), _TIMEOUTS))
    except SettingError as error:
        raise SettingError(f"timeouts: {error}") from None


def _take_mechanisms(values: dict[str, Any]) -> Mapping[str, Callable[[Credentials], SASLClient]]:
    names = [str(name).upper() for name in values.pop("mechanisms", CLIENT_MECHANISMS)]
    if not names or not CLIENT_MECHANISMS.keys() >= set(names):
        raise SettingError(f"mechanisms must be some of {', '.join(CLIENT_MECHANISMS)}")
    return {name: CLIENT_MECHANISMS[name] for name in names}
