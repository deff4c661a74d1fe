"""``[checks]`` in the settings file: the hooks that come with mailkit, by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from twisted.internet.interfaces import IReactorTime

from mailkit.interfaces import IKeyValueStore
from mailkit.tap.errors import SettingError
from mailkit.tap.listeners import MAIL_SCOPES, Scopes
from mailkit.tap.values import check_measure

#: Name of the check, where its class is, whether it is on unless a setting says otherwise: those
#: that ask nobody, remember nothing on disk, and refuse what nobody honest does. In the order in
#: which they are asked. One that accepts a client comes behind those that concern everybody.
CHECKS: Mapping[str, tuple[str, bool]] = {
    "rates": ("mailkit.checks.rates.Rates", True),
    "early-talkers": ("mailkit.checks.early.EarlyTalkers", False),
    "content-limits": ("mailkit.checks.content.ContentLimits", True),
    "helo": ("mailkit.checks.helo.HeloSanity", True),
    "reverse-dns": ("mailkit.checks.reverse.ReverseDNS", False),
    "dns-lists": ("mailkit.checks.dnsbl.DNSLists", False),
    "sender-domain": ("mailkit.checks.sender.SenderDomain", False),
    "score": ("mailkit.checks.score.ScoreLimit", False),
    "greylisting": ("mailkit.checks.greylist.Greylisting", False),
    "recipients": ("mailkit.checks.recipients.RecipientVerification", False),
}
#: The services whose clients a check is for, unless its setting ``services`` names others.
_SERVICES = {"rates": ["smtp", "submission"]}
#: Name servers for all checks, instead of the system's.
NAMESERVERS = "nameservers"
# What a check works with, and what no setting gives.
_GIVEN = frozenset({"self", "resolver", "values", "verifier", "clock"})


class CheckMaker(NamedTuple):
    """A check that is made when the service starts."""

    name: str
    services: Sequence[str]
    class_: type[Any]
    settings: Mapping[str, Any]


class Checks:
    """The checks of a mail service.

    :param settings: by name of the check: true, false, or its settings, each as the parameter of
        its class, and ``services``, whose clients it is for; besides ``nameservers``. What is not
        named is as :data:`CHECKS` says.
    :param names: services that take mail, and their named listeners.
    :raises SettingError: there is no such check or setting, or a value is of a wrong kind.
    """

    def __init__(self, settings: Mapping[str, Any], names: Scopes = MAIL_SCOPES) -> None:
        given = {key.replace("_", "-"): value for key, value in settings.items()}
        self._servers = parse_servers(given.pop(NAMESERVERS, []))
        for name in given:
            if name not in CHECKS:
                known = ", ".join([*CHECKS, NAMESERVERS])
                raise SettingError(f"there is no check {name!r}; known are {known}")
        self._makers = [
            _parse_check(name, place, given.get(name), names)
            for name, (place, is_on) in CHECKS.items()
            if given.get(name, is_on) is not False
        ]

    @property
    def names(self) -> list[str]:
        """Those that are on, in the order in which they are asked."""
        return [maker.name for maker in self._makers]

    def make(self, store: object, clock: IReactorTime) -> dict[str, list[object]]:
        """The hooks by service and listener; one object serves all that it is for.

        :param store: keeps what is to outlast a restart, if it can.
        """
        hooks: dict[str, list[object]] = {}
        tools: dict[str, Any] = {"clock": clock}
        for maker in self._makers:
            wanted = inspect.signature(maker.class_).parameters
            if "values" in wanted and "values" not in tools:
                tools["values"] = _values(store, clock)
            if "resolver" in wanted and "resolver" not in tools:
                tools["resolver"] = self._resolver(clock)
            fitting = {name: tool for name, tool in tools.items() if name in wanted}
            hook = maker.class_(**fitting, **maker.settings)
            for service in maker.services:
                hooks.setdefault(service, []).append(hook)
        return hooks

    def _resolver(self, clock: IReactorTime) -> Any:
        from mailkit.dns.cache import CachingResolver
        from mailkit.dns.resolver import DNSResolver

        servers = self._servers or None
        return CachingResolver(DNSResolver(servers, reactor=clock), clock=clock)


def _values(store: object, clock: IReactorTime) -> Any:
    if IKeyValueStore.providedBy(store):
        return store
    from mailkit.checks.greylist import MemoryValues

    return MemoryValues(clock=clock)


def _parse_check(name: str, place: str, given: Any, names: Scopes) -> CheckMaker:
    from twisted.python.reflect import namedAny

    class_: type[Any] = namedAny(place)
    if given is None or given is True:
        given = {}
    if not isinstance(given, Mapping):
        raise SettingError(f"{name} must be true, false, or a table of settings")
    services = _parse_services(name, given, names)
    hints = get_type_hints(class_.__init__)
    known = [key for key in inspect.signature(class_).parameters if key not in _GIVEN]
    settings = {}
    for key, value in given.items():
        parameter = key.replace("-", "_")
        if key == "services":
            continue
        if parameter not in known:
            words = ", ".join(each.replace("_", "-") for each in (*known, "services"))
            raise SettingError(f"{name} has no setting {key!r}; known are {words}")
        settings[parameter] = _convert(f"{name}.{key}", value, hints[parameter])
    try:
        # What does not fit together is found now, not when the service starts.
        class_(**{key: None for key in ("resolver", "values") if key in hints}, **settings)
    except ValueError as error:
        raise SettingError(f"{name}: {error}") from error
    return CheckMaker(name, services, class_, settings)


def _parse_services(check: str, given: Mapping[str, Any], names: Scopes) -> list[str]:
    """All services and listeners whose clients a check is for."""
    place = f"{check}.services"
    chosen = _convert(place, given.get("services", _SERVICES.get(check, ["smtp"])), Sequence[str])
    for name in chosen:
        if name not in names:
            raise SettingError(f"{place}: {name!r} takes no mail; known are {', '.join(names)}")
    return [each for each in names if any(each in names[name] for name in chosen)]


def _convert(name: str, value: Any, hint: Any) -> Any:
    """A value of the settings file as a parameter of that type."""
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        raise SettingError(f"{name} must be one of {', '.join(get_args(hint))}")
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        check_measure(name, value)
        return float(value)
    if hint is str and isinstance(value, str):
        return value
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}
    if hint in kinds:
        raise SettingError(f"{name} must be {kinds[hint]}")
    items = value if isinstance(value, list) else [value]
    if hint == Sequence[str]:
        if not all(isinstance(item, str) for item in items):
            raise SettingError(f"{name} must be a string or an array of strings")
        return items
    return [_parse_list(name, item) for item in items]


def _parse_list(name: str, item: Any) -> Any:
    """A list in DNS: its zone, or a table."""
    from mailkit.checks.dnsbl import DNSList

    if isinstance(item, str):
        item = {"zone": item}
    hints = {"zone": str, "weight": float, "answers": Sequence[str]}
    if not isinstance(item, Mapping) or "zone" not in item or item.keys() - hints.keys():
        raise SettingError(f"{name} must be zones, or tables with zone, weight and answers")
    values = {key: _convert(f"{name}.{key}", value, hints[key]) for key, value in item.items()}
    try:
        return DNSList(**values)
    except ValueError as error:
        raise SettingError(f"{name}: {error}") from error


def parse_servers(given: Any) -> list[tuple[str, int]]:
    """Name servers: ``192.0.2.53``, ``127.0.0.1:5353``, ``[::1]:53``, ``::1``."""
    from mailkit.checks.networks import parse_address

    servers = []
    for text in given if isinstance(given, list) else [given]:
        address, port = text, "53"
        if isinstance(text, str) and parse_address(text) is None:
            address, _, port = text.rpartition(":")
            address = address.strip("[]")
        if not isinstance(text, str) or parse_address(address) is None or not port.isdigit():
            raise SettingError(f"{NAMESERVERS}: {text!r} is no address such as 127.0.0.1:53")
        servers.append((address, int(port)))
    return servers
