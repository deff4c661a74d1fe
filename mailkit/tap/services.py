"""Mail servers as Twisted services: for twistd, for a .tac file, for any program's MultiService.

::

    service = MailService("sqlite:/var/lib/mailkit", tls="certificate.pem,key.pem")
    service.add_imap("tcp:143")
    service.add_imap("tcp:993", implicit_tls=True)
    service.setServiceParent(application)

What is further to be set is grouped in :mod:`mailkit.tap.settings`.

Order: ports are bound in ``privilegedStartService`` (as root, where twistd changes its user), the
store is opened in ``startService`` (as that user), and no connection is served before both.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, TypeAlias, cast

from twisted.application.service import MultiService
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamServerEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory

from mailkit._typing import override
from mailkit.auth.certificates import CertificateNames
from mailkit.auth.kerberos import KerberosAcceptor
from mailkit.auth.passwords import PasswordHasher
from mailkit.auth.portal import make_portal
from mailkit.clocks import steady_seconds
from mailkit.connection import CommandConnection, CommandFactory
from mailkit.errors import MailError
from mailkit.guard import LoginGuard
from mailkit.interfaces import (
    IDirectory,
    IMailStore,
    IProcessChannel,
    IProcessLocks,
)
from mailkit.proxy import ProxyFactory
from mailkit.sasl import choose_mechanisms
from mailkit.store.sharing.names import SharingSettings
from mailkit.tap.capabilities import capability_settings
from mailkit.tap.checks import Checks
from mailkit.tap.descriptors import connection_share, open_files_limit
from mailkit.tap.errors import SettingError, StartError
from mailkit.tap.extensions import extension_settings, parse_bare_line_ends
from mailkit.tap.factories import IMPLICIT_TLS, PORT_NAMES, make_factory
from mailkit.tap.ftp_settings import FTPSettings
from mailkit.tap.gssapi_settings import begin_accepting
from mailkit.tap.guard_keeper import GuardKeeper
from mailkit.tap.guests import parse_guests
from mailkit.tap.hooks import make_hooks, parse_hooks
from mailkit.tap.listeners import TAKE_MAIL, Scopes, check_listeners, protocol_of, scopes
from mailkit.tap.milters import parse_milters
from mailkit.tap.networks import parse_names, parse_networks
from mailkit.tap.ports import Port, parse_endpoint
from mailkit.tap.relay import Relay
from mailkit.tap.routes import Deliveries, parse_routes
from mailkit.tap.service_tls import ServiceTLS
from mailkit.tap.settings import (
    DeliverySettings,
    FilterSettings,
    IMAPSettings,
    Limits,
    LoginSettings,
    SMTPSettings,
)
from mailkit.tap.smtp_limits import parse_smtp_limits
from mailkit.tap.stores import parse_store
from mailkit.tap.user_bases import Checkers
from mailkit.tls import TLSReloader

Endpoint: TypeAlias = "str | IStreamServerEndpoint"


def _deliveries(settings: DeliverySettings) -> Deliveries:
    return Deliveries(
        parse_routes(settings.routes, settings.route_secret),
        settings.suppress_duplicates,
        detail_to_mailbox=settings.detail_to_mailbox,
        detail_by_acl=settings.detail_by_acl,
        sent_copy=settings.sent_copy,
    )


def _imap_parameters(settings: IMAPSettings) -> dict[str, Any]:
    switched = capability_settings(settings.without_capabilities, settings.quirks, settings.clients)
    return {**settings.parameters, **switched}


class MailService(MultiService):
    """SMTP, LMTP, submission, POP3, IMAP and FTP servers over one store.

    :param store: what ``--store`` takes, opened and closed with the service; or an ``IMailStore``,
        which stays the caller's to close.
    :param tls: what ``--tls`` takes, or a list of such; a context factory, or a
        :class:`~mailkit.tap.service_tls.ServiceTLS`; None for no TLS.
    :param hostname: what the server calls itself; the machine's name when empty.
    :param pop3: parameters of :class:`~mailkit.pop3.protocol.POP3Factory`.
    :param relay: where mail goes that users send to other domains; None to refuse it.
    :param sharing: how mailboxes are shown that users share; for a store that is named.
    :param proxy_from: what ``--proxy-from`` takes.
    :param listeners: named listeners of services that take mail, with the port of each (``smtp``,
        ``submissions``). Where a setting may be for one service, it may be for one of them.
    :param reluctance: of a store that is named, see
        :class:`~mailkit.store.sqlite.settings.StoreSettings`.
    :raises SettingError: the store's name, the certificate, a hook's name or a check is wrong.
    """

    log = Logger()

    #: Seconds that connections have to end when the service stops.
    stop_timeout = 5.0

    def __init__(
        self,
        store: str | IMailStore,
        *,
        tls: Any = None,
        hostname: str = "",
        limits: Limits | None = None,
        logins: LoginSettings | None = None,
        delivery: DeliverySettings | None = None,
        filters: FilterSettings | None = None,
        smtp: SMTPSettings | None = None,
        imap: IMAPSettings | None = None,
        pop3: Mapping[str, Any] | None = None,
        ftp: FTPSettings | None = None,
        relay: Relay | None = None,
        sharing: SharingSettings | None = None,
        proxy_from: Collection[str] = (),
        listeners: Mapping[str, str] | None = None,
        reluctance: float = 0.0,
        reactor: Any = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if reactor is None:
            from twisted.internet import reactor
        self._reactor = reactor
        self._store_name = store if isinstance(store, str) else repr(store)
        self._opener = parse_store(store, sharing, reluctance) if isinstance(store, str) else None
        self._logins = logins = logins or LoginSettings()
        self._checkers = Checkers(logins.checkers, logins.store_accounts, logins.create_accounts)
        self._listeners = dict(listeners or {})
        check_listeners(self._listeners)
        ports, takers = scopes(PORT_NAMES, self._listeners), scopes(TAKE_MAIL, self._listeners)
        self._tls = tls if isinstance(tls, ServiceTLS) else ServiceTLS(tls, ports)
        #: Reads the certificates again when they change.
        self.tls_reloader = TLSReloader(self._tls.from_files, reactor)
        if self._tls.from_files:
            self.tls_reloader.setServiceParent(self)  # type: ignore[no-untyped-call]
        self._hostname = hostname or socket.gethostname()
        self._limits = limits or Limits()
        self._deliveries = _deliveries(delivery or DeliverySettings())
        self._outbound: Outbound | None = None
        if relay is not None:
            # Here, because most of what it needs nobody else does.
            from mailkit.tap.outbound import Outbound

            self._outbound = Outbound(relay, self._hostname, reactor)
        self._set_filters(filters or FilterSettings(), takers)
        self._proxies = parse_networks(proxy_from, ports)
        self._guests = parse_guests(logins.anonymous)
        self._set_smtp(smtp or SMTPSettings(), takers)
        self._imap_settings = _imap_parameters(imap or IMAPSettings())
        self._pop3_settings = dict(pop3 or {})
        self._ftp = ftp or FTPSettings()
        guard = logins.guard
        self._guard = guard if isinstance(guard, LoginGuard) else LoginGuard(guard)
        self._guard_keeper: GuardKeeper | None = None
        # Each ends something that is shared with the store's other processes: limits, locks, failed
        # logins.
        self._end_sharing: list[Callable[[], None]] = []
        self._certificates: CertificateNames | None = None
        if self._tls.asks_for_certificates:
            self._certificates = logins.certificates or CertificateNames()
        self._acceptor: KerberosAcceptor | None = None
        # By protocol, or by name of a listener that has one.
        self._factories: dict[str, CommandFactory] = {}
        self._hasher: PasswordHasher | None = None
        #: The store, once the service has started.
        self.store: Any = None if self._opener else store

    def _set_filters(self, filters: FilterSettings, names: Scopes) -> None:
        self._checks = Checks(filters.checks, names)
        self._hooks = parse_hooks(filters.hooks, names)
        self._hook_settings = filters.hook_settings
        self._milters: dict[str, list[Any]] = {}
        if filters.milters:
            self._milters = parse_milters(
                filters.milters,
                filters.milter_failure,
                self._reactor,
                filters.milter_reuse,
                filters.milter_settings,
                names,
            )

    def _set_smtp(self, smtp: SMTPSettings, names: Scopes) -> None:
        self._extension_settings = extension_settings(
            smtp.without_extensions,
            smtp.vrfy,
            smtp.expn,
            smtp.no_soliciting,
            parse_names(smtp.xclient_from, names),
            etrn=self._outbound is not None and self._outbound.starter is not None,
            table=smtp.extensions,
            names=names,
        )
        self._smtp_limits = parse_smtp_limits(smtp.limits, names)
        self._any_from = smtp.any_from
        self._bare_line_ends = parse_bare_line_ends(smtp.bare_line_ends, names)

    # Servers.

    def add_smtp(self, endpoint: Endpoint) -> None:
        """Take mail for local users from anybody (port 25).

        :param endpoint: a string for Twisted's ``serverFromString``, or an endpoint.
        :raises SettingError: the string is no endpoint.
        """
        self.add_port("smtp", endpoint)

    def add_lmtp(self, endpoint: Endpoint) -> None:
        """Take mail for local users from mail servers of this site, by LMTP.

        Best a UNIX socket: ``unix:/run/mailkit/lmtp:mode=660``. Port 25 is refused at the start.
        """
        self.add_port("lmtp", endpoint)

    def add_submission(self, endpoint: Endpoint, *, implicit_tls: bool = False) -> None:
        """Take mail from users who log in (port 587; with ``implicit_tls`` 465)."""
        self.add_port("submissions" if implicit_tls else "submission", endpoint)

    def add_pop3(self, endpoint: Endpoint, *, implicit_tls: bool = False) -> None:
        """Serve POP3 (port 110; with ``implicit_tls`` 995)."""
        self.add_port("pop3s" if implicit_tls else "pop3", endpoint)

    def add_imap(self, endpoint: Endpoint, *, implicit_tls: bool = False) -> None:
        """Serve IMAP (port 143; with ``implicit_tls`` 993)."""
        self.add_port("imaps" if implicit_tls else "imap", endpoint)

    def add_ftp(self, endpoint: Endpoint, *, implicit_tls: bool = False) -> None:
        """Serve accounts' files by FTP (port 21; with ``implicit_tls`` 990)."""
        self.add_port("ftps" if implicit_tls else "ftp", endpoint)

    def add_port(self, name: str, endpoint: Endpoint) -> None:
        """Serve a protocol by its name in :data:`PORT_NAMES`, or a named listener.

        :raises SettingError: the endpoint is none, or TLS is needed and not set up.
        """
        setting = self._listeners.get(name, name)
        factory: Any = self._factory(name if name in self._listeners else protocol_of(name, {}))
        if setting in IMPLICIT_TLS:
            context = self._tls.context(name)
            if context is None:
                raise SettingError(f"{name} needs tls: a certificate and its key")
            factory = TLSMemoryBIOFactory(context, False, factory, self._reactor)
            factory.noisy = False
        if proxies := self._proxies[name]:
            factory = ProxyFactory(factory, proxies, cast(IReactorTime, self._reactor))
        if isinstance(endpoint, str):
            description, endpoint = endpoint, parse_endpoint(endpoint, self._reactor)
        else:
            description = repr(endpoint)
        port: Any = Port(setting, description, endpoint, factory)
        port.setServiceParent(self)

    def _factory(self, name: str) -> CommandFactory:
        """The one factory of a protocol, for all its ports, or that of a named listener."""
        if name not in self._factories:
            limits, protocol = self._limits, protocol_of(name, self._listeners)
            settings: dict[str, Any] = {}
            if name in self._extension_settings:
                settings["extensions"] = self._extension_settings[name]
            if protocol == "imap":
                settings |= self._imap_settings
                settings["max_sessions_per_account"] = limits.max_sessions_per_account
            if protocol == "pop3":
                settings |= self._pop3_settings | {"directory": lambda: self.store}
            if protocol == "ftp":
                settings |= self._ftp.parameters() | {"reactor": self._reactor}
            if protocol == "submission":
                from mailkit.imap.resolver import StoreURLResolver

                clock = cast(IReactorTime, self._reactor)
                settings["url_resolver"] = StoreURLResolver(lambda: self.store, clock)
                settings["check_from"] = not self._any_from
            own_limits = self._smtp_limits.get(name)
            size = limits.max_message_size
            if own_limits is not None:
                settings |= own_limits.settings()
                size = own_limits.max_message_size or size
            if name in self._bare_line_ends:
                settings["bare_line_ends"] = self._bare_line_ends[name]
            factory = make_factory(
                protocol,
                self._make_portal(protocol),
                self._hostname,
                size,
                **settings,
                tls_context=self._tls.context(name),
                clock=cast(IReactorTime, self._reactor),
                max_connections=limits.max_connections,
                max_connections_per_address=limits.max_connections_per_address,
                allow_plaintext_passwords=self._logins.allow_plaintext_passwords,
            )
            factory.master_separator = self._logins.master_separator
            if self._logins.mechanisms is not None:
                factory.mechanisms = choose_mechanisms(self._logins.mechanisms)
            if own_limits is not None:
                own_limits.change(factory)
            self._factories[name] = factory
            self._share_descriptors()
        return self._factories[name]

    def _share_descriptors(self) -> None:
        """Allow no more clients than leave descriptors for the store: others are told to wait."""
        most = min(self._limits.max_connections, connection_share(len(self._factories)))
        for factory in self._factories.values():
            factory.max_connections = most

    # Start and stop.

    @override
    def privilegedStartService(self) -> None:
        """Bind the ports.

        :raises StartError: one of them is taken, or not ours to use.
        """
        try:
            super().privilegedStartService()  # type: ignore[no-untyped-call]
        except StartError:
            super().stopService()  # type: ignore[no-untyped-call]
            raise

    @override
    def startService(self) -> None:
        """Open the store, bind the ports that are not bound yet, and serve.

        :raises StartError: the store cannot be opened, or a port cannot be bound.
        """
        try:
            self._open()
            super().startService()  # type: ignore[no-untyped-call]
        except StartError:
            self.stopService()
            raise

    @override
    def stopService(self) -> Deferred[None]:
        """Close the ports, let each client's command end, close the store."""
        ports_closed = super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop(ports_closed))

    def _open(self) -> None:
        if self._opener is not None:
            try:
                self.store = self._opener()
            except MailError as error:
                raise StartError("store", self._store_name, error.text) from error
            except (SettingError, OSError) as error:
                raise StartError("store", self._store_name, str(error)) from error
        # Only now does a program of ours have as many as it will get.
        self._share_descriptors()
        for factory in self._factories.values():
            if factory.max_connections < self._limits.max_connections:
                self.log.info(
                    "at most {count} connections of each protocol, because this process may open"
                    " {limit} files (ulimit -n)",
                    count=factory.max_connections,
                    limit=open_files_limit(),
                )
                break
        self._hasher = PasswordHasher(self._reactor)
        if self._logins.kerberos is not None:
            self._acceptor = begin_accepting(self._logins.kerberos, self._reactor)
        if not IDirectory.providedBy(self.store) and self._takes_mail():
            reason = (
                f"this store knows no addresses, so it cannot take mail by {', '.join(TAKE_MAIL)}"
            )
            raise StartError("store", self._store_name, reason)
        users = self._checkers.directory(self.store, cast(IReactorTime, self._reactor))
        self._deliveries.open(self.store, users)
        if self._outbound is not None:
            self._outbound.open(self.store, self._deliveries)
        for name, factory in self._factories.items():
            protocol = protocol_of(name, self._listeners)
            factory.portal = self._make_portal(protocol)
            if IProcessLocks.providedBy(self.store):
                share = partial(factory.share_limits, name, self.store.try_lock)
                self._end_sharing.append(self.store.when_shared(share))
            if protocol == "pop3":
                self._end_sharing.append(cast(Any, factory).neighbours.share(self.store))
        self._guard_keeper = GuardKeeper(self._guard, self.store, cast(IReactorTime, self._reactor))
        self._guard_keeper.start()
        if IProcessChannel.providedBy(self.store):
            self._end_sharing.append(self._guard.share(self.store))
        self._set_hooks()

    def _make_portal(self, protocol: str) -> Portal | None:
        """Where clients of a protocol log in; nowhere before the store is open."""
        if self._hasher is None:
            return None
        checkers = self._checkers.make(self.store, self._hasher)
        takes_mail = IDirectory.providedBy(self.store)
        # Those of submission are users, though they have not said yet which.
        user = "user" if protocol == "submission" else None
        size, homes = self._limits.max_message_size, None
        acceptor = self._acceptor
        if protocol == "ftp":
            homes = self._ftp.homes(self.store, self._store_name, size, self._reactor)
        try:
            return make_portal(
                self.store,
                checkers,
                deliveries=self._deliveries.make if takes_mail else None,
                create_accounts=self._checkers.creates(self.store),
                hasher=self._hasher,
                abilities=self._deliveries.abilities(user) if takes_mail else frozenset(),
                homes=homes,
                guard=self._guard,
                guest_of=self._guests.get(protocol, ""),
                certificates=self._certificates,
                kerberos=acceptor if acceptor and acceptor.serves(protocol) else None,
            )
        except ValueError as error:
            raise StartError("store", self._store_name, f"{error} (auth)") from error

    def _takes_mail(self) -> bool:
        return any(protocol_of(name, self._listeners) in TAKE_MAIL for name in self._factories)

    def _set_hooks(self) -> None:
        if not self._takes_mail():
            return
        checks = self._checks.make(self.store, cast(IReactorTime, self._reactor))
        hooks = make_hooks(self._hooks)
        for name, factory in self._factories.items():
            if protocol_of(name, self._listeners) in TAKE_MAIL:
                judges = (checks, hooks, self._milters)
                own = [hook for each in judges for hook in each.get(name, ())]
                cast(Any, factory).set_hooks(own, self._hook_settings)

    async def _stop(self, ports_closed: Deferred[Any]) -> None:
        await ports_closed
        await self._end_connections()
        for factory in self._factories.values():
            factory.end_abandoned()
            factory.portal = None
        while self._end_sharing:
            self._end_sharing.pop()()
        if self._guard_keeper is not None:
            await self._guard_keeper.stop()
            self._guard_keeper = None
        if self._hasher is not None:
            self._hasher.close()
            self._hasher = None
        if self._acceptor is not None:
            self._acceptor.close()
            self._acceptor = None
        await self._checkers.close()
        for hook in (hook for each in self._milters.values() for hook in each):
            hook.close()
        if self._outbound is not None:
            await self._outbound.close()
        await self._deliveries.close()
        if self._opener is not None and self.store is not None:
            store, self.store = self.store, None
            await store.close()

    async def _end_connections(self) -> None:
        """Wait until each connection has its answer and is gone; cut those that take too long."""
        for connection in self._connections():
            connection.shut_down()
        seconds = steady_seconds(self._reactor)
        give_up = seconds() + self.stop_timeout
        while (
            self._connections() or any(hooks.at_work for hooks in self._hook_sets())
        ) and seconds() < give_up:
            await deferLater(self._reactor, 0.02)
        for connection in self._connections():
            connection.abort()
        # Their ends are told in a turn of the reactor, and commands then release what they hold.
        await deferLater(self._reactor, 0)
        for hooks in self._hook_sets():
            hooks.cancel()

    def _hook_sets(self) -> list[Any]:
        sets = [getattr(factory, "hook_set", None) for factory in self._factories.values()]
        return [hooks for hooks in sets if hooks is not None]

    def _connections(self) -> list[CommandConnection]:
        return [c for factory in self._factories.values() for c in factory.connections]
