"""The table ``[login-guard]`` of a settings file: how wrong passwords slow down what comes next."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from mailkit.guard import GuardSettings
from mailkit.tap.errors import SettingError
from mailkit.tap.values import check_measure

#: Keys of bits, and the most there can be.
_BITS = {"ipv4-network": 32, "ipv6-network": 128, "ipv6-address": 128}
#: Keys of the longest wait, and what it is for.
_LONGEST = {"address-wait": "address", "network-wait": "network", "account-wait": "account"}


def parse_login_guard(table: Mapping[str, Any]) -> GuardSettings:
    """The settings of a table.

    :raises SettingError: a key is not known, or a value is none for it.
    """
    settings = GuardSettings()
    for key, value in table.items():
        if key in _BITS:
            if not isinstance(value, int) or isinstance(value, bool):
                raise SettingError(f"{key} must be a number of bits")
            if not 1 <= value <= _BITS[key]:
                raise SettingError(f"{key} must be from 1 to {_BITS[key]}")
            bits: dict[str, Any] = {key.replace("-", "_"): value}
            settings = settings._replace(**bits)
        elif key in _LONGEST:
            if not isinstance(value, (int, float)) or isinstance(value, bool) or value < 0:
                raise SettingError(f"{key} must be a number of seconds")
            check_measure(key, value)
            rate = getattr(settings, _LONGEST[key])._replace(longest=float(value))
            settings = settings._replace(**{_LONGEST[key]: rate})
        elif key == "trusted":
            settings = settings._replace(trusted=_networks(value))
        else:
            known = ", ".join(sorted({*_BITS, *_LONGEST, "trusted"}))
            raise SettingError(f"there is no {key!r}; known are {known}")
    return settings


def _networks(value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise SettingError("trusted must be a network or an array of them")
    for text in texts:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            raise SettingError(f"trusted: {error}") from None
    return tuple(texts)
