"""What twistd runs for each command: the service that its options ask for, or workers that run it."""

from __future__ import annotations

import atexit
import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import ProcessProtocol

from mailkit._typing import override
from mailkit.coroutines import run
from mailkit.errors import MailError
from mailkit.interfaces import IDirectoryAdmin
from mailkit.tap.children import SENDS, Child, spawn
from mailkit.tap.clock_watch import ClockWatch
from mailkit.tap.descriptors import raise_open_files_limit
from mailkit.tap.errors import SettingError, StartError, readable_errors
from mailkit.tap.ftp_settings import parse_ftp_settings
from mailkit.tap.imap_settings import parse_imap_settings
from mailkit.tap.memory import keep_what_is_loaded, return_large_allocations, use_large_pages
from mailkit.tap.options import MailOptions
from mailkit.tap.pop3_settings import parse_pop3_settings
from mailkit.tap.routes import split_routes
from mailkit.tap.services import MailService
from mailkit.tap.settings import DeliverySettings, FilterSettings, IMAPSettings, SMTPSettings
from mailkit.tap.sharing import parse_sharing
from mailkit.tap.signals import reload_at_hangup
from mailkit.tap.stores import parse_store
from mailkit.tap.workers import WorkersService


def _delivery_settings(options: MailOptions) -> DeliverySettings:
    return DeliverySettings(
        detail_to_mailbox=bool(options.get("detail-to-mailbox")),
        detail_by_acl=bool(options.get("detail-by-acl")),
        sent_copy=bool(options.get("sent-copy")),
        suppress_duplicates=float(options.get("suppress-duplicates") or 0),
        routes=split_routes(options.lists["route"]),
        route_secret=options.route_secret,
    )


def _filter_settings(options: MailOptions) -> FilterSettings:
    return FilterSettings(
        checks=options.tables["checks"],
        hooks=options.lists["hook"],
        hook_settings=options.hook_settings,
        milters=options.lists["milter"],
        milter_failure=options.get("milter-failure"),
        milter_reuse=options.lists["milter-reuse"],
        milter_settings=options.tables["milter-settings"],
    )


def _smtp_settings(options: MailOptions) -> SMTPSettings:
    return SMTPSettings(
        without_extensions=options.lists["without-extension"],
        vrfy=options.get("vrfy"),
        expn=options.get("expn"),
        no_soliciting=options.get("no-soliciting"),
        xclient_from=options.lists["xclient-from"],
        bare_line_ends=options.lists["bare-line-ends"],
        any_from=bool(options.get("any-from")),
        extensions=options.tables["smtp-extensions"],
        limits=options.tables["smtp-limits"],
    )


class TwistdService(MailService):
    """A mail service that ends twistd with one readable line when it cannot start.

    :param inherited: sockets in place of the options' endpoints, in their order.
    :param reluctance: see :class:`~mailkit.tap.services.MailService`.
    """

    def __init__(
        self,
        options: MailOptions,
        inherited: Sequence[IStreamServerEndpoint] = (),
        reluctance: float = 0.0,
    ) -> None:
        super().__init__(
            options["store"],
            tls=options.service_tls,
            hostname=options.get("hostname") or "",
            limits=options.limits,
            logins=options.logins,
            delivery=_delivery_settings(options),
            filters=_filter_settings(options),
            smtp=_smtp_settings(options),
            imap=IMAPSettings(
                without_capabilities=options.lists["without-capability"],
                quirks=options.lists["imap-quirk"],
                clients=options.tables["imap-clients"],
                parameters=parse_imap_settings(options),
            ),
            pop3=parse_pop3_settings(options),
            ftp=parse_ftp_settings(options),
            relay=options.relay,
            sharing=parse_sharing(options),
            proxy_from=options.lists["proxy-from"],
            listeners=options.listeners,
            reluctance=reluctance,
        )
        self._place = options.place
        # Not where a service is part of another program, whose timers are its own.
        self._clock_watch = ClockWatch(self._reactor)
        # Stops listening to SIGHUP.
        self._hangups: Callable[[], None] = lambda: None
        for number, (name, listener, endpoint) in enumerate(options.list_endpoints()):
            self.add_port(listener or name, inherited[number] if inherited else endpoint)

    @override
    def privilegedStartService(self) -> None:
        raise_open_files_limit()
        return_large_allocations()
        with self._readable_errors():
            super().privilegedStartService()
        keep_what_is_loaded()
        use_large_pages()

    @override
    def startService(self) -> None:
        with self._readable_errors():
            super().startService()
        self._clock_watch.start()
        self._hangups = reload_at_hangup(self.tls_reloader)
        # With other checkers, whoever logs in gets an account.
        if self._factories and not self._checkers and self._store_name != "memory:":
            run(self._tell_of_no_accounts()).addErrback(
                lambda failure: self.log.failure("the accounts cannot be read", failure)
            )

    @override
    def stopService(self) -> Deferred[None]:
        self._hangups()
        return self._clock_watch.stop_behind(super().stopService())

    async def _tell_of_no_accounts(self) -> None:
        """Help who has forgotten them: all mail and every login would be refused."""
        if IDirectoryAdmin.providedBy(self.store) and not await self.store.list_domains():
            self.log.warn(
                "there are no accounts yet: make one with"
                " `mailkit --store {store} account add ADDRESS`",
                store=shlex.quote(self._store_name),
            )

    def _readable_errors(self) -> AbstractContextManager[None]:
        return readable_errors(self._place)


class StoreKeeper(Service):
    """Opens the store before the workers do, so that its changes are made here: beside clients' commands
    they would wait for these, as would all other workers."""

    def __init__(self, options: MailOptions, reactor: Any = None) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._clock_watch = ClockWatch(reactor)
        self._store_name = options["store"]
        self._opener = parse_store(self._store_name, parse_sharing(options))
        self._place = options.place
        self._store: Any = None

    @override
    def privilegedStartService(self) -> None:
        raise_open_files_limit()
        return_large_allocations()
        keep_what_is_loaded()

    @override
    def startService(self) -> None:
        with readable_errors(self._place):
            try:
                self._store = self._opener()
            except (MailError, SettingError, OSError) as error:
                raise StartError("store", self._store_name, str(error)) from error
        self._clock_watch.start()
        use_large_pages()

    @override
    def stopService(self) -> Deferred[None]:
        store, self._store = self._store, None
        closed = succeed(None) if store is None else Deferred.fromCoroutine(store.close())
        return self._clock_watch.stop_behind(closed)


class TwistdWorkers(WorkersService):
    """Workers of a mail service; ends twistd with one readable line when it cannot start."""

    def __init__(self, options: MailOptions, reactor: Any = None) -> None:
        ports = [(name, endpoint) for name, _, endpoint in options.list_endpoints()]
        sends = _sends_apart(options)
        super().__init__(options.workers, _plan(options), ports, reactor, sends=sends)
        self._place = options.place
        self._clock_watch = ClockWatch(self._reactor)
        atexit.register(self.exit_if_failed)

    @override
    def privilegedStartService(self) -> None:
        raise_open_files_limit()
        with readable_errors(self._place):
            super().privilegedStartService()

    @override
    def startService(self) -> None:
        with readable_errors(self._place):
            super().startService()
        self._clock_watch.start()

    @override
    def stopService(self) -> Deferred[None]:
        return self._clock_watch.stop_behind(super().stopService())


class SendingProcess(Service):
    """Sends what is queued: a process beside that of the service that this belongs to."""

    def __init__(self, options: MailOptions, reactor: Any = None) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._plan = _plan(options)
        self._reactor = reactor
        self._child = Child(self, SENDS, "the sender")

    @override
    def startService(self) -> None:
        """After the store was opened, so that its changes are made by the process that takes mail."""
        super().startService()  # type: ignore[no-untyped-call]
        self._child.start()

    @override
    def stopService(self) -> Deferred[None]:
        """The store is closed after that: what was sent is put down."""
        super().stopService()  # type: ignore[no-untyped-call]
        return self._child.stop()

    # What the process asks.

    @property
    def reactor(self) -> Any:
        return self._reactor

    def spawn(self, protocol: ProcessProtocol, role: str) -> Any:
        """Start it.

        :raises OSError: it cannot be started.
        """
        return spawn(self._reactor, protocol, self._plan, role)

    def failed_at_first(self, reason: str) -> None:
        """It serves no clients: mail waits for it."""


def _plan(options: MailOptions) -> dict[str, Any]:
    """What other processes are told of the options."""
    from twisted.internet import reactor

    kind = type(options)
    return {
        "options": f"{kind.__module__}.{kind.__qualname__}",
        "arguments": options.arguments,
        "origin": options.origin,
        "reactor": type(reactor).__module__,
    }


def _sends_apart(options: MailOptions) -> bool:
    return options.relay is not None and options.relay.apart


def make_service(options: MailOptions) -> TwistdService | TwistdWorkers:
    """What twistd runs."""
    if options.workers > 1:
        return TwistdWorkers(options)
    service = TwistdService(options)
    if _sends_apart(options):
        sender: Any = SendingProcess(options)
        sender.setServiceParent(service)
    return service
