"""``[[queue.routes]]`` and ``--relay-route``: ways out for some domains and some senders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from mailkit.errors import MailError
from mailkit.interfaces import IMessageDelivery
from mailkit.queue.hosts import FixedHosts, HostFinder
from mailkit.queue.relay import RelayTransport
from mailkit.queue.routing import Condition, OutboundRoute
from mailkit.queue.schedule import Schedule
from mailkit.queue.security import DestinationSecurity
from mailkit.queue.tls_results import TLSSession
from mailkit.queue.transport import DeliveryTransport, Transport
from mailkit.smtp.client import ClientSettings, Credentials, TLSMode, TLSPolicy, parse_server
from mailkit.store.addresses import canonical_address, valid_domain
from mailkit.tap.errors import SettingError
from mailkit.tap.logins import LoginTable, read_logins
from mailkit.tap.queue_sending import KEYS as SENDING_KEYS
from mailkit.tap.queue_sending import SendingSettings, read_table, take_sending
from mailkit.tap.relay import EXCHANGERS, read_login
from mailkit.tap.routes import KNOWN, Maker, parse_delivery
from mailkit.wire.domains import canonical_domain

#: What a certificate is judged by, where a setting asks for TLS.
TLS = {mode.value: mode for mode in TLSMode if mode not in (TLSMode.PINNED, TLSMode.DANE)}

_KEYS: Mapping[str, type] = {
    "to": list,
    "domains": list,
    "senders": list,
    "accounts": list,
    "tls": str,
    "login": str,
    "logins": str,
    "username": str,
    "password": str,
    "intervals": list,
    "jitter": float,
    "lifetime": float,
    "warn-after": float,
    **SENDING_KEYS,
}
#: Lists of texts.
_LISTS = ("to", "domains", "senders", "accounts", "bind")
#: Those that mean something for servers only.
_FOR_SERVERS = ("tls", "login", "logins", "username", "password", *SENDING_KEYS)


@dataclass(frozen=True)
class Surroundings:
    """What the transports of routes need."""

    hostname: str
    reactor: Any
    store: Any
    #: The domains' own servers, and what decides how secure connections to them are.
    exchangers: HostFinder
    security: DestinationSecurity
    #: Is told how each attempt to secure a connection ended.
    results: Callable[[TLSSession], None] | None
    #: Puts what changes messages before a transport to other servers.
    wrap: Callable[[Transport], Transport]
    #: What the records call the way out that is being made.
    route: str = ""


MakeTransport: TypeAlias = Callable[[Surroundings], Transport]


@dataclass(frozen=True)
class RouteSettings:
    """One route, as it was set up."""

    condition: Condition
    schedule: Schedule
    make: MakeTransport
    #: By which attempts that take it name it.
    name: str

    def open(self, surroundings: Surroundings) -> tuple[Condition, OutboundRoute]:
        """The route, ready to be used."""
        transport = self.make(replace(surroundings, route=self.name))
        return self.condition, OutboundRoute(transport, self.schedule)


def _split_relay_route(text: str) -> dict[str, Any]:
    """The table that ``DOMAIN=TARGET`` stands for.

    :raises SettingError: it is not of that kind.
    """
    domain, equals, target = text.partition("=")
    if not equals or not domain or not target:
        raise SettingError(f"{text!r} is no route; write DOMAIN=smtp:SERVER, or =mx, =lmtp:SERVER")
    return {"domains": [domain.strip()], "to": [target.strip()]}


def parse_routes(
    tables: Any,
    default: Schedule,
    options: Sequence[str] = (),
    sending: Mapping[str, Any] | None = None,
) -> list[RouteSettings]:
    """The routes of ``[[queue.routes]]``, and then those of ``--relay-route``.

    :param default: has the times that a route does not set.
    :param options: what ``--relay-route`` says, each time that it is given.
    :param sending: how connections are made, and how many, where a route does not say it.
    :raises SettingError: one makes no sense; it is named by its place.
    """
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise SettingError("routes is a list of tables: write [[queue.routes]]")
    routes = []
    for number, table in enumerate(tables, 1):
        try:
            routes.append(_parse(table, default, f"route {number}", sending or {}))
        except (SettingError, ValueError) as error:
            name = f"{number}, to {table['to']}" if "to" in table else str(number)
            raise SettingError(f"routes: number {name}: {error}") from error
    for text in options:
        try:
            routes.append(_parse(_split_relay_route(text), default, "--relay-route", sending or {}))
        except ValueError as error:
            raise SettingError(f"{text}: {error}") from error
    return routes


def _parse(
    table: Mapping[str, Any], default: Schedule, name: str, sending: Mapping[str, Any]
) -> RouteSettings:
    values = read_table(table, _KEYS)
    for key in _LISTS:
        if not all(isinstance(each, str) for each in values.get(key, [])):
            raise SettingError(f"{key} must be a list of texts")
    targets = values.pop("to", [])
    if not targets:
        raise SettingError(f"to is missing: mx, {KNOWN}")
    condition = Condition(
        frozenset(map(_domain, values.pop("domains", []))),
        frozenset(map(_sender, values.pop("senders", []))),
        frozenset(map(_address, values.pop("accounts", []))),
    )
    times = {
        key.replace("-", "_"): values.pop(key)
        for key in ("intervals", "jitter", "lifetime", "warn-after")
        if key in values
    }
    schedule = replace(default, **times)
    make = _parse_targets(targets, values, condition, sending)
    return RouteSettings(condition, schedule, make, f"{name} ({', '.join(targets)})")


def _parse_targets(
    targets: Sequence[str],
    values: dict[str, Any],
    condition: Condition,
    sending: Mapping[str, Any],
) -> MakeTransport:
    first = targets[0]
    scheme = first.partition(":")[0]
    if first == EXCHANGERS or (scheme in ("smtp", "lmtp") and not first.startswith("lmtp:unix:")):
        return server_transport(targets, {**sending, **values})
    if len(targets) > 1:
        raise SettingError("only servers can be tried one after the other")
    wrong = [key for key in _FOR_SERVERS if key in values]
    if wrong:
        raise SettingError(f"{wrong[0]} means something for servers only")
    # What it gives is called with domains that it may take for its own.
    domains = sorted(each.removeprefix(".") for each in condition.domains) or ["localhost"]
    return _delivery_transport(first, parse_delivery(first), domains)


def _delivery_transport(name: str, maker: Maker, domains: Sequence[str]) -> MakeTransport:
    def make(surroundings: Surroundings) -> Transport:
        delivery = maker(surroundings.store, domains)
        if not IMessageDelivery.providedBy(delivery):
            raise SettingError(f"{name}: {delivery!r} does not provide IMessageDelivery")
        seconds = surroundings.reactor.seconds
        return DeliveryTransport(lambda: delivery, name, seconds, route=surroundings.route)

    return make


def server_transport(
    targets: Sequence[str], values: dict[str, Any], credentials: Credentials | None = None
) -> MakeTransport:
    """What sends to servers.

    :param targets: ``mx`` alone; or ``smtp:SERVER[:PORT]`` or ``lmtp:SERVER[:PORT]`` in the order in
        which they are tried.
    :param values: the settings that are left of a table; those that are used are taken out.
    :raises SettingError: something makes no sense.
    """
    sending = take_sending(values)
    tls = values.pop("tls", TLSMode.OPPORTUNISTIC.value)
    if tls not in TLS:
        raise SettingError(f"tls must be one of {', '.join(TLS)}")
    credentials = _take_credentials(values) or credentials
    logins = read_logins(values.pop("logins")) if "logins" in values else None
    lmtp = targets[0].startswith("lmtp:")
    if targets[0] == EXCHANGERS:
        if logins is not None and tls != TLSMode.VERIFIED.value:
            # DNS says who gets a password.
            raise SettingError('logins with mx need tls = "verified"')
        if len(targets) > 1:
            raise SettingError("mx stands alone")
        if credentials is not None:
            raise SettingError("a login is for one server, and not for all the world's (mx)")
        servers = []
    else:
        servers = [_parse_server(target, lmtp) for target in targets]
    implicit = [port == 465 for _, port in servers]
    policy = TLSPolicy(TLS[tls])
    if any(implicit):
        if not all(implicit):
            raise SettingError("port 465 begins with TLS, other ports do not: make two routes")
        # RFC 8314 section 3.3: TLS from the first octet.
        mode = TLSMode.VERIFIED if tls == TLSMode.OPPORTUNISTIC.value else TLS[tls]
        if mode is TLSMode.NONE:
            raise SettingError("port 465 begins with TLS")
        policy = TLSPolicy(mode, implicit=True)
    return _RelayMaker(servers, sending, policy, credentials, lmtp, logins).make


@dataclass(frozen=True)
class _RelayMaker:
    """Makes what sends to servers, or to the domains' own where none is named."""

    servers: Sequence[tuple[str, int]]
    sending: SendingSettings
    policy: TLSPolicy
    credentials: Credentials | None
    lmtp: bool
    logins: LoginTable | None

    def make(self, surroundings: Surroundings) -> Transport:
        client = self.sending.client(
            surroundings.hostname, tls=self.policy, credentials=self.credentials, lmtp=self.lmtp
        )
        finder = FixedHosts(self.servers) if self.servers else surroundings.exchangers
        relay = RelayTransport(
            finder,
            client,
            surroundings.reactor,
            surroundings.security,
            surroundings.results,
            pace=self.sending.pace,
            sources=self.sending.sources,
            logins=None if self.logins is None else self.logins.find,
            route=surroundings.route,
        )
        return surroundings.wrap(relay)


def _take_credentials(values: dict[str, Any]) -> Credentials | None:
    login = values.pop("login", None)
    username, password = values.pop("username", None), values.pop("password", None)
    if login is not None:
        if username is not None or password is not None:
            raise SettingError("give login, or username and password")
        return read_login(login)
    if (username is None) is not (password is None):
        raise SettingError("username and password belong together")
    return None if username is None else Credentials(username, password)


def _parse_server(target: str, lmtp: bool) -> tuple[str, int]:
    scheme, colon, text = target.partition(":")
    if not colon or scheme != ("lmtp" if lmtp else "smtp"):
        raise SettingError(f"{target!r}: several servers are all smtp:SERVER or all lmtp:SERVER")
    server = parse_server(text, ClientSettings(lmtp=lmtp))
    if server.path:
        raise SettingError(f"{target!r}: a socket cannot be one of several servers")
    return server.host, server.port


def _domain(text: str) -> str:
    name = canonical_domain(text)
    try:
        valid_domain(name.removeprefix("."))
    except MailError as error:
        raise SettingError(
            f"{text!r} is no domain such as example.net, or .example.net for its subdomains"
        ) from error
    return name


def _address(text: str) -> str:
    try:
        return canonical_address(text)
    except MailError as error:
        raise SettingError(f"{text!r} is no address") from error


def _sender(text: str) -> str:
    if "@" not in text:
        return _domain(text)
    local, _, domain = text.rpartition("@")
    return f"{local.lower()}@{_domain(domain)}"
