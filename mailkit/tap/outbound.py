"""``--relay`` and ``[queue]``: what users send to other domains, and how it gets there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from mailkit.errors import MailError, RelayDenied, StoreUnavailable
from mailkit.interfaces import IDNSResolver, IMessageDelivery, IQueueingStore
from mailkit.model import ConnectionInfo, Envelope, Path
from mailkit.queue.hosts import ExchangerFinder
from mailkit.queue.limits import QueueLimits
from mailkit.queue.manager import HISTORY, Outgoing, QueueManager, QueueSettings
from mailkit.queue.reports import Reporter
from mailkit.queue.routing import OutboundRoute, OutboundRoutes
from mailkit.queue.schedule import Schedule
from mailkit.queue.transport import DeliveryTransport, Transport
from mailkit.spool import Spool
from mailkit.tap.checks import parse_servers
from mailkit.tap.errors import SettingError, StartError
from mailkit.tap.etrn import make_starter
from mailkit.tap.languages import take_languages
from mailkit.tap.programs import KEYS as PROGRAM_KEYS
from mailkit.tap.programs import Programs
from mailkit.tap.queue_routes import (
    Surroundings,
    parse_routes,
    server_transport,
)
from mailkit.tap.queue_sending import KEYS as SENDING_KEYS
from mailkit.tap.queue_sending import read_table
from mailkit.tap.queue_turn import QueueTurn
from mailkit.tap.relay import EXCHANGERS, QUEUE_ONLY, Relay
from mailkit.tap.routes import Deliveries
from mailkit.tap.signing import KEYS as SIGNING_KEYS
from mailkit.tap.signing import Signing
from mailkit.tap.transport_security import KEYS as SECURITY_KEYS
from mailkit.tap.transport_security import TransportSecurity, take_security
from mailkit.translation import checked_language
from mailkit.wire.networks import Networks

#: Keys of ``[queue]``, each with the kind of its value.
_KEYS: Mapping[str, type] = {
    "intervals": list,
    "jitter": float,
    "lifetime": float,
    "warn-after": float,
    "undo": float,
    "history": float,
    "max-domains": int,
    "retry-rate": float,
    "max-messages": int,
    "max-octets": int,
    "max-messages-per-account": int,
    "max-recipients-per-domain": int,
    "tls": str,
    "nameservers": list,
    "port": int,
    "language": str,
    "logins": str,
    "check-domains": bool,
    **SECURITY_KEYS,
    **PROGRAM_KEYS,
    **SIGNING_KEYS,
    **SENDING_KEYS,
}
#: Keys of ``[queue]`` that are tables.
_TABLES = ("etrn", "routes", "languages")


class Outbound:
    """Sends what is queued, while the service runs.

    :raises SettingError: the target is none, or a setting is not known or makes no sense.
    """

    def __init__(self, relay: Relay, hostname: str, reactor: Any) -> None:
        self._target = relay.target
        self._sends = relay.target != QUEUE_ONLY and not relay.apart
        self._hostname = hostname
        self._reactor = reactor
        tables = {key: relay.table[key] for key in _TABLES if key in relay.table}
        values = read_table(
            {k: each for k, each in relay.table.items() if k not in tables}, _KEYS, _TABLES
        )
        #: Who may ask for the mail of domains.
        self.starter = make_starter(tables["etrn"]) if "etrn" in tables else None
        self._nameservers = parse_servers(values.pop("nameservers", []))
        self._port: int = values.pop("port", 25)
        if not 0 < self._port < 65536:
            raise SettingError(f"port: {self._port} is no port")
        self._checks_domains: bool = values.pop("check-domains", False)
        self._security = take_security(values)
        self._programs = Programs(values, reactor)
        self._signing = Signing(values, hostname, reactor)
        self._language = _take_language(values)
        self._language_of = take_languages(tables.get("languages"))
        by_name = relay.target in (EXCHANGERS, QUEUE_ONLY)
        if self._checks_domains and not by_name:
            raise SettingError(f"check-domains is for relay {EXCHANGERS} or {QUEUE_ONLY}")
        target = EXCHANGERS if by_name else f"smtp:{relay.target}"
        sending = {key: values[key] for key in SENDING_KEYS if key in values}
        try:
            self._make_default = server_transport([target], values, relay.credentials)
            history = int(values.pop("history", HISTORY))
            places = {
                key.replace("-", "_"): values.pop(key)
                for key in ("max-domains", "retry-rate")
                if key in values
            }
            self._settings = QueueSettings(history=history, **places)
            self._limits = QueueLimits(
                **{
                    each.name: values.pop(each.name.replace("_", "-"))
                    for each in fields(QueueLimits)
                    if each.name.replace("_", "-") in values
                }
            )
            self._schedule = Schedule(**{key.replace("-", "_"): values[key] for key in values})
        except ValueError as error:
            raise SettingError(str(error)) from error
        self._route_settings = parse_routes(
            tables.get("routes", []), self._schedule, relay.routes, sending
        )
        try:
            self._trusted = Networks(relay.trusted)
        except ValueError as error:
            raise SettingError(str(error)) from error
        self._store: Any = None
        self._deliveries: Deliveries | None = None
        self._routes: OutboundRoutes | None = None
        self._exchangers: ExchangerFinder | None = None
        self._manager: QueueManager | None = None
        self._watch: TransportSecurity | None = None
        self._turn: QueueTurn | None = None

    def open(self, store: Any, deliveries: Deliveries) -> None:
        """Begin to send.

        :raises StartError: the store has no queue.
        """
        self._store = store
        self._deliveries = deliveries
        if not IQueueingStore.providedBy(store):
            raise StartError("relay", self._target, "this store has no outbound queue")
        resolver = self._make_resolver()
        security = self._watch = TransportSecurity(
            self._security, resolver, store, self._submit, self._reactor
        )
        srs = deliveries.srs = self._signing.open_srs(store)

        def wrap(transport: Transport) -> Transport:
            return self._signing.wrap(transport, store, srs, resolver, self._is_local)

        self._routes = routes = self._open_routes(store, resolver, security, wrap)
        reporter = Reporter(
            self._hostname,
            self._reactor.seconds,
            language=self._language,
            language_of=self._language_of,
        )
        self._manager = QueueManager(
            store.queue,
            self._find,
            reporter,
            schedule=self._schedule,
            find_schedule=routes.schedule if self._route_settings else None,
            settings=self._settings,
            clock=self._reactor,
            limits=self._limits,
            return_paths=self._programs.paths,
        )
        deliveries.queue = self._manager
        self._programs.open(store.queue, self._manager, deliveries)
        deliveries.starter = self.starter
        deliveries.trusted = self._trusted
        if self._checks_domains:
            deliveries.check_domain = self._check_domain
        if self._sends:
            self._turn = QueueTurn(store, self._begin, self._reactor)
            self._turn.start()

    def _begin(self) -> None:
        """Work on the queue: no other process does."""
        assert self._watch is not None
        self.manager.start()
        self._watch.start()
        self._programs.start(self._store.queue, self.manager)

    async def _submit(self, envelope: Envelope, octets: bytes) -> None:
        """Queue a message of our own.

        :raises MailError: it was not queued.
        """
        await self.manager.submit(Spool.from_bytes(octets), [Outgoing(envelope)])

    @property
    def manager(self) -> QueueManager:
        """What works on the queue, while it is open.

        :raises StoreUnavailable: it is not.
        """
        if self._manager is None:
            raise StoreUnavailable("Mail is sent only while the service runs")
        return self._manager

    def _open_routes(
        self,
        store: Any,
        resolver: IDNSResolver,
        security: TransportSecurity,
        wrap: Callable[[Transport], Transport],
    ) -> OutboundRoutes:
        """:raises StartError: a route leads to nothing."""
        self._exchangers = ExchangerFinder(resolver, [self._hostname], self._port)
        surroundings = Surroundings(
            self._hostname,
            self._reactor,
            store,
            self._exchangers,
            security.decisions,
            security.results,
            wrap,
            f"--relay {self._target}",
        )
        default = OutboundRoute(self._make_default(surroundings), self._schedule)
        try:
            routes = [each.open(surroundings) for each in self._route_settings]
        except StartError:
            raise
        except Exception as error:
            # Whatever the code of somebody else's may do.
            raise StartError("queue", "routes", str(error) or type(error).__name__) from error
        return OutboundRoutes(routes, default)

    def _make_resolver(self) -> IDNSResolver:
        from mailkit.dns.cache import CachingResolver
        from mailkit.dns.resolver import DNSResolver

        servers = self._nameservers or None
        asking = DNSResolver(servers, validating=self._security.validating, reactor=self._reactor)
        return CachingResolver(asking, clock=self._reactor)

    async def _find(self, domain: str) -> Transport:
        deliveries, routes = self._deliveries, self._routes
        assert deliveries is not None
        assert routes is not None
        route = deliveries.find_route(domain)
        if route is not None:
            found: IMessageDelivery = route
            return DeliveryTransport(lambda: found, "route", self._reactor.seconds)
        if await self._is_local(domain):
            info = ConnectionInfo("queue")
            return DeliveryTransport(
                lambda: deliveries.make(None, info),
                self._hostname,
                self._reactor.seconds,
                arrives=True,
            )
        return routes.transport(domain)

    async def _check_domain(self, domain: str, envelope: Envelope) -> None:
        """:raises MailError: mail to a domain would come back at once."""
        routes, exchangers = self._routes, self._exchangers
        assert routes is not None and exchangers is not None
        if not routes.takes_default(domain, envelope):
            return
        try:
            # RFC 7505 section 4.1: the sender hears of it now.
            await exchangers.find(domain)
        except MailError as error:
            if not error.temporary:
                raise

    async def _is_local(self, domain: str) -> bool:
        try:
            await self._store.resolve(path=Path("postmaster", domain))
        except RelayDenied:
            return False
        except MailError as error:
            if error.temporary:
                raise
        return True

    async def close(self) -> None:
        """Send nothing more."""
        if self._turn is not None:
            self._turn.cancel()
        await self._programs.close()
        watch, self._watch = self._watch, None
        if watch is not None:
            await watch.stop()
        manager, self._manager = self._manager, None
        if manager is not None:
            await manager.stop()
        routes, self._routes = self._routes, None
        if routes is not None:
            await routes.close()
        self._signing.close()
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.end()


def _take_language(values: dict[str, Any]) -> str:
    try:
        return checked_language(values.pop("language", "en"))
    except ValueError as error:
        raise SettingError(str(error)) from error
