"""``--milter``: filters that speak the milter protocol."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar, cast

from mailkit.tap.errors import SettingError
from mailkit.tap.listeners import MAIL_SCOPES, Scopes
from mailkit.tap.strict_options import StrictOptions
from mailkit.tap.values import check_numbers

#: What ``[milter-settings]`` may have besides ``failure``: the numbers of ``MilterSettings``.
_NUMBERS: Mapping[str, type[int] | type[float]] = {
    "connect-timeout": float,
    "command-timeout": float,
    "content-timeout": float,
    "max-modifications": int,
    "max-body": int,
}


def parse_milters(
    texts: Iterable[str],
    failure: str | None = None,
    reactor: Any = None,
    reuse: Collection[str] = (),
    table: Mapping[str, Any] | None = None,
    services: Scopes = MAIL_SCOPES,
) -> dict[str, list[Any]]:
    """The hooks that ask milters, by service and listener: one for all milters of each.

    :param texts: ``ENDPOINT`` for all services that take mail, or ``SERVICE:ENDPOINT``.
    :param failure: what a milter that cannot be asked counts as; ``tempfail`` when None.
    :param reuse: those endpoints whose connections serve several clients, one after the other.
    :param table: what the table ``[milter-settings]`` of a settings file takes: settings for all
        milters, and tables for those of an endpoint, which go before ``failure``.
    :param services: those that take mail, and their named listeners.
    :raises SettingError: a text is no client endpoint, or ``failure`` is none, or ``reuse`` or
        ``table`` names a milter that is not asked, or a setting makes no sense.
    """
    names: dict[str, list[str]] = {service: [] for service in services}
    for text in texts:
        service, _, endpoint = text.partition(":")
        if service not in services:
            service, endpoint = "", text
        for each in services.get(service, services):
            names[each].append(endpoint)
    # Loaded when used: an IMAP server has no need of milters.
    from mailkit.milter.connection import Milter, MilterSettings
    from mailkit.milter.hook import MilterHook

    _check_failure(failure)
    own = {key: value for key, value in (table or {}).items() if isinstance(value, Mapping)}
    asked = {endpoint for each in names.values() for endpoint in each}
    for endpoint in (*reuse, *own):
        if endpoint not in asked:
            raise SettingError(f"no milter is asked at {endpoint!r}")
    chosen = _settings({key: value for key, value in (table or {}).items() if key not in own})
    settings = MilterSettings(failure=cast(Any, failure or "tempfail"))._replace(**chosen)
    of_endpoints = {endpoint: _settings(values) for endpoint, values in own.items()}

    def make(endpoint: str) -> Milter:
        chosen = settings._replace(reuse=endpoint in reuse)
        chosen = chosen._replace(**of_endpoints.get(endpoint, {}))
        return Milter(_endpoint(endpoint, reactor), endpoint, chosen, reactor)

    return {
        service: [MilterHook(*map(make, each))] if each else [] for service, each in names.items()
    }


def _settings(table: Mapping[str, Any]) -> dict[str, Any]:
    known = ("failure", *_NUMBERS)
    for key in table:
        if key not in known:
            raise SettingError(f"there is no {key!r}; known are {', '.join(known)}")
    numbers = {key: value for key, value in table.items() if key != "failure"}
    settings = check_numbers(numbers, _NUMBERS)
    if "failure" in table:
        settings["failure"] = _check_failure(table["failure"])
    return settings


def _check_failure(failure: Any) -> Any:
    if failure not in (None, "tempfail", "accept", "reject"):
        raise SettingError(f"{failure!r} is not tempfail, accept or reject")
    return failure


def _endpoint(description: str, reactor: Any) -> Any:
    from twisted.internet.endpoints import clientFromString

    if reactor is None:
        from twisted.internet import reactor
    try:
        return clientFromString(reactor, description)
    except Exception as error:
        # Each kind of endpoint has its own parser, and plug-ins add more.
        raise SettingError(
            f"{description!r} is no client endpoint such as unix:/run/opendkim.sock or"
            f" tcp:127.0.0.1:11332 ({error})"
        ) from error


class MilterOptions(StrictOptions):
    """The options, for commands that take mail."""

    optParameters: ClassVar[list[list[Any]]] = [
        [
            "milter-failure",
            None,
            None,
            "What a milter counts as that cannot be asked: tempfail, accept or reject the mail"
            " [default: tempfail]",
        ],
    ]
    list_settings = ["milter", "milter-reuse"]
    table_settings = ["milter-settings"]

    def opt_milter(self, endpoint: str) -> None:
        """Let the milter at this ENDPOINT judge mail while it is received, such as
        unix:/run/opendkim.sock or tcp:127.0.0.1:11332; for one service with SERVICE:ENDPOINT. May
        be repeated: they are asked in this order."""
        self.lists["milter"].append(endpoint)

    def opt_milter_reuse(self, endpoint: str) -> None:
        """Keep connections to the milter at this ENDPOINT for further clients: for rspamd, and not
        for milters that are made with libmilter, such as OpenDKIM. May be repeated."""
        self.lists["milter-reuse"].append(endpoint)
