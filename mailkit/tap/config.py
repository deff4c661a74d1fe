"""The TOML file of ``twistd mailkit --config``: its keys are the names of the options."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Sequence
from typing import Any

from mailkit.tap.errors import SettingError
from mailkit.tap.strict_options import closest
from mailkit.tap.values import MAX_FRACTION

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: Octets of a settings file; more is not one.
MAX_CONFIG = 1024 * 1024


def read_config(
    path: str,
    lists: Collection[str],
    values: Collection[str],
    flags: Collection[str],
    tables: Collection[str] = (),
    others: Collection[str] = (),
) -> dict[str, Any]:
    """The settings in a file.

    :param lists: keys that take a string or an array of them; given as lists.
    :param values: keys that take a string or a number; given as strings. An array of strings
        becomes one string with commas, as ``imap-language`` has it.
    :param flags: keys that take true or false.
    :param tables: keys that take a table.
    :param others: keys whose values the caller judges.
    :raises SettingError: the file cannot be read, has an unknown key, or a value of a wrong kind.
    """
    settings: dict[str, Any] = {}
    for key, value in _load(path).items():
        _refuse_odd(path, key, value)
        if key in lists:
            settings[key] = [value] if isinstance(value, str) else value
            wanted, fits = "a string or an array of strings", _are_strings(settings[key])
        elif key in values:
            settings[key] = ",".join(value) if _are_strings(value) else str(value)
            is_scalar = isinstance(value, (str, int)) and not isinstance(value, bool)
            wanted, fits = "a string or a whole number", is_scalar or _are_strings(value)
        elif key in flags:
            settings[key] = value
            wanted, fits = "true or false", isinstance(value, bool)
        elif key in tables:
            settings[key] = value
            wanted, fits = "a table", isinstance(value, dict)
        elif key in others:
            settings[key] = value
            wanted, fits = "", True
        else:
            known = sorted({*lists, *values, *flags, *tables, *others})
            raise SettingError(f"{path}: unknown key {key!r}; {_advise(key, known)}")
        if not fits:
            raise SettingError(f"{path}: {key} must be {wanted}")
    return settings


def _advise(key: str, known: Sequence[str]) -> str:
    """What may have been meant; all that there is takes some lines."""
    likely = closest(key, known)
    hint = "" if likely is None else f"did you mean {likely}? "
    return f"{hint}known are {', '.join(known)}"


def parse_toml(octets: bytes) -> dict[str, Any]:
    """The tables in the octets of a file.

    :raises ValueError: they are not UTF-8, or not TOML; it says where.
    """
    return tomllib.loads(octets.decode("utf-8"))


def _load(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return parse_toml(file.read(MAX_CONFIG))
    except OSError as error:
        raise SettingError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        # Not UTF-8, or not TOML; both say where.
        raise SettingError(f"{path} is not TOML: {error}") from error


# Whole numbers are octets, too (TOML 1.0: 64 bits); whatever has a fraction is a time or a score.
_MAX_WHOLE = 2**63 - 1


def _refuse_odd(path: str, name: str, value: Any) -> None:
    """TOML knows what is neither a time nor a limit, and no name of a file or a server."""
    if isinstance(value, dict):
        for key, each in value.items():
            _refuse_odd(path, name, key)
            _refuse_odd(path, f"{name}.{key}", each)
    elif isinstance(value, list):
        for each in value:
            _refuse_odd(path, name, each)
    elif isinstance(value, float) and not math.isfinite(value):
        raise SettingError(f"{path}: {name} must be a finite number")
    elif (isinstance(value, float) and abs(value) > MAX_FRACTION) or (
        isinstance(value, int) and abs(value) > _MAX_WHOLE
    ):
        raise SettingError(f"{path}: {name} is out of all measure")
    elif isinstance(value, str) and "\0" in value:
        raise SettingError(f"{path}: {name} must not have a NUL character")


def _are_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
