"""``--relay`` and ``[queue]``: what users send to other domains, and how it gets there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mailkit.errors import MailError, RelayDenied, StoreUnavailable
from mailkit.interfaces import IDNSResolver, IMessageDelivery, IQueueingStore
from mailkit.model import ConnectionInfo, Envelope, Path
from mailkit.queue.hosts import ExchangerFinder, FixedHost, HostFinder
from mailkit.queue.manager import Outgoing, QueueManager, QueueSettings
from mailkit.queue.relay import RelayTransport
from mailkit.queue.reports import Reporter
from mailkit.queue.schedule import Schedule
from mailkit.queue.transport import DeliveryTransport, Transport
from mailkit.smtp.client import ClientSettings, TLSMode, TLSPolicy, parse_server
from mailkit.spool import Spool
from mailkit.tap.errors import SettingError, StartError
from mailkit.tap.programs import KEYS as PROGRAM_KEYS
from mailkit.tap.programs import Programs
from mailkit.tap.relay import Relay
from mailkit.tap.routes import Deliveries
from mailkit.tap.signing import KEYS as SIGNING_KEYS
from mailkit.tap.signing import Signing
from mailkit.tap.transport_security import KEYS as SECURITY_KEYS
from mailkit.tap.transport_security import TransportSecurity, take_security
from mailkit.translation import checked_language

#: The domains' own servers, found by DNS.
EXCHANGERS = "mx"

#: Keys of ``[queue]``, each with the kind of its value.
_KEYS: Mapping[str, type] = {
    "intervals": list,
    "lifetime": float,
    "warn-after": float,
    "undo": float,
    "history": float,
    "max-domains": int,
    "tls": str,
    "nameservers": list,
    "port": int,
    "language": str,
    **SECURITY_KEYS,
    **PROGRAM_KEYS,
    **SIGNING_KEYS,
}
_TLS = {mode.value: mode for mode in TLSMode if mode not in (TLSMode.PINNED, TLSMode.DANE)}


class Outbound:
    """Sends what is queued, while the service runs.

    :raises SettingError: the target is none, or a setting is not known or makes no sense.
    """

    def __init__(self, relay: Relay, hostname: str, reactor: Any) -> None:
        self._target = relay.target
        self._hostname = hostname
        self._reactor = reactor
        values = _read_table(relay.table)
        self._nameservers: Sequence[str] = values.pop("nameservers", [])
        self._port: int = values.pop("port", 25)
        self._security = take_security(values)
        self._programs = Programs(values, reactor)
        self._signing = Signing(values, hostname, reactor)
        self._language = _take_language(values)
        tls = values.pop("tls", TLSMode.OPPORTUNISTIC.value)
        if tls not in _TLS:
            raise SettingError(f"tls must be one of {', '.join(_TLS)}")
        policy = TLSPolicy(_TLS[tls])
        self._server: tuple[str, int] | None = None
        if relay.target != EXCHANGERS:
            server = _parse_target(relay.target)
            self._server = server.host, server.port
            if server.port == 465:
                # RFC 8314 section 3.3: TLS from the first octet.
                mode = TLSMode.VERIFIED if tls == TLSMode.OPPORTUNISTIC.value else _TLS[tls]
                policy = TLSPolicy(mode, implicit=True)
        elif relay.credentials is not None:
            raise SettingError("a login is for one server, and not for all the world's (mx)")
        self._client = ClientSettings(helo=hostname, tls=policy, credentials=relay.credentials)
        try:
            self._settings = QueueSettings(
                **{
                    key.replace("-", "_"): values.pop(key)
                    for key in ("history", "max-domains")
                    if key in values
                }
            )
            self._schedule = Schedule(**{key.replace("-", "_"): values[key] for key in values})
        except ValueError as error:
            raise SettingError(str(error)) from error
        self._store: Any = None
        self._deliveries: Deliveries | None = None
        self._relay: Transport | None = None
        self._manager: QueueManager | None = None
        self._watch: TransportSecurity | None = None

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
        relay = RelayTransport(
            self._finder(resolver),
            self._client,
            self._reactor,
            security.decisions,
            security.results,
        )
        srs = deliveries.srs = self._signing.open_srs(store)
        self._relay = self._signing.wrap(relay, store, srs, resolver, self._is_local)
        reporter = Reporter(self._hostname, self._reactor.seconds, language=self._language)
        self._manager = QueueManager(
            store.queue,
            self._find,
            reporter,
            schedule=self._schedule,
            settings=self._settings,
            clock=self._reactor,
            return_paths=self._programs.paths,
        )
        deliveries.queue = self._manager
        self._programs.open(store.queue, self._manager, deliveries)
        self._manager.start()
        security.start()

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

    def _finder(self, resolver: IDNSResolver) -> HostFinder:
        if self._server is not None:
            return FixedHost(*self._server)
        return ExchangerFinder(resolver, [self._hostname], self._port)

    def _make_resolver(self) -> IDNSResolver:
        from mailkit.dns.cache import CachingResolver
        from mailkit.dns.resolver import DNSResolver
        from mailkit.tap.checks import parse_servers

        servers = parse_servers(self._nameservers) or None
        asking = DNSResolver(servers, validating=self._security.validating, reactor=self._reactor)
        return CachingResolver(asking, clock=self._reactor)

    async def _find(self, domain: str) -> Transport:
        deliveries, relay = self._deliveries, self._relay
        assert deliveries is not None
        assert relay is not None
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
        return relay

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
        await self._programs.close()
        watch, self._watch = self._watch, None
        if watch is not None:
            await watch.stop()
        manager, self._manager = self._manager, None
        if manager is not None:
            await manager.stop()
        relay, self._relay = self._relay, None
        if relay is not None:
            await relay.close()
        self._signing.close()


def _parse_target(target: str) -> Any:
    try:
        server = parse_server(target, ClientSettings())
    except ValueError as error:
        raise SettingError(f"write mx, or a server: {error}") from error
    if server.path:
        raise SettingError("write mx, or a server such as mail.example.org:587")
    return server


def _take_language(values: dict[str, Any]) -> str:
    try:
        return checked_language(values.pop("language", "en"))
    except ValueError as error:
        raise SettingError(str(error)) from error


def _read_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the queue, of the right kinds."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("_", "-")
        kind = _KEYS.get(name)
        if kind is None:
            raise SettingError(f"there is no setting {key!r}; known are {', '.join(_KEYS)}")
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise SettingError(f"{key} must be of the kind {kind.__name__}")
        values[name] = value
    intervals = values.get("intervals", [])
    if not all(type(each) in (int, float) for each in intervals):
        raise SettingError("intervals must be numbers of seconds")
    if "history" in values:
        values["history"] = int(values["history"])
    return values
