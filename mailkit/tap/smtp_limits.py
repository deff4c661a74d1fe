"""The table ``[smtp-limits]`` of a settings file: what a client of SMTP, submission or LMTP may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mailkit.tap.errors import SettingError
from mailkit.tap.listeners import MAIL_SCOPES, Scopes
from mailkit.tap.values import check_number, parse_size

#: Parameters of :class:`~mailkit.smtp.protocol.SMTPFactory`.
_PARAMETERS: Mapping[str, type[int] | type[float]] = {
    "max-recipients": int,
    "max-header": int,
    "max-received": int,
    "timeout": float,
    "data-timeout": float,
}
#: Its attributes.
_ATTRIBUTES: Mapping[str, type[int] | type[float]] = {
    "max-errors": int,
    "max-refusals": int,
    "max-idle-commands": int,
    "max-transactions": int,
    "max-failed-logins": int,
    "message-memory": int,
}
#: Fields of :class:`~mailkit.smtp.grammar.Limits`.
_LENGTHS: Mapping[str, str] = {
    "command-line": "line",
    "auth-line": "auth_line",
    "parameters": "parameters",
    "path": "path",
    "local-part": "local_part",
    "domain": "domain",
}
#: Also a setting of the whole process.
_SIZE = "max-message-size"
_KINDS: Mapping[str, type[int] | type[float]] = {
    **_PARAMETERS,
    **_ATTRIBUTES,
    **dict.fromkeys(_LENGTHS, int),
}
#: The least that RFC 5321 section 4.5.3.1 lets a server take.
_LEAST = {
    "command-line": 512,
    "auth-line": 512,
    "max-recipients": 100,
    "max-received": 100,
    "path": 256,
    "local-part": 64,
    "domain": 255,
}


@dataclass
class SMTPLimits:
    """The limits of one service or listener that differ from the defaults."""

    #: Octets; None for what all services have.
    max_message_size: int | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    lengths: dict[str, Any] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """Parameters for the factory."""
        if not self.lengths:
            return self.parameters
        # Loaded when used: an IMAP server has no need of SMTP.
        from mailkit.smtp.grammar import LIMITS

        return {**self.parameters, "limits": LIMITS._replace(**self.lengths)}

    def change(self, factory: Any) -> None:
        """Give a factory that nobody uses yet the limits that are no parameters."""
        for name, value in self.attributes.items():
            setattr(factory, name, value)

    def _take(self, key: str, value: Any) -> None:
        name = key.replace("_", "-")
        if name == _SIZE:
            is_text = isinstance(value, str)
            self.max_message_size = parse_size(value) if is_text else check_number(key, value, int)
            return
        kind = _KINDS.get(name)
        if kind is None:
            raise SettingError(
                f"there is no limit {key!r}; known are {', '.join((_SIZE, *_KINDS))}"
            )
        check_number(key, value, kind, _LEAST.get(name, 1))
        if name in _LENGTHS:
            self.lengths[_LENGTHS[name]] = value
        elif name in _PARAMETERS:
            self.parameters[name.replace("-", "_")] = value
        else:
            self.attributes[name.replace("-", "_")] = value


def parse_smtp_limits(
    table: Mapping[str, Any], names: Scopes = MAIL_SCOPES
) -> dict[str, SMTPLimits]:
    """The limits by service and listener: those for all, over them those of a service's own table,
    ``[smtp-limits.submission]``, and over both those of a listener's.

    :raises SettingError: a limit is not known, or makes no sense; or there is no such listener.
    """
    if not table:
        return {}
    found = {name: SMTPLimits() for name in names}
    own = {name: table[name] for name in names if name in table}
    for key, value in table.items():
        if isinstance(value, Mapping) and key not in own:
            raise SettingError(f"{key!r} takes no mail; known are {', '.join(names)}")
    for limits in found.values():
        for key, value in table.items():
            if key not in own:
                limits._take(key, value)
    for name, values in own.items():
        if not isinstance(values, dict):
            raise SettingError(f"{name} must be a table")
        for key, value in values.items():
            for each in names[name]:
                found[each]._take(key, value)
    return found
