"""Servers as services: ports, store, start and stop, on a reactor in memory and on a real one."""

from __future__ import annotations

from typing import Any

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock, StringTransportWithDisconnection
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mailkit.auth.bases import UserBaseChecker
from mailkit.auth.passwords import PLAIN_PREFIX
from mailkit.delivery.local import LocalMessageDelivery
from mailkit.errors import StoreUnavailable
from mailkit.hooks import MailHook, Quarantine, Reject
from mailkit.interfaces import IMailAccount, IMailStore, IMessageDelivery, IPasswordVerifier
from mailkit.model import ConnectionInfo
from mailkit.smtp.hooks import HookSettings
from mailkit.smtp.lmtp import LMTPFactory
from mailkit.store.memory import MemoryStore
from mailkit.tap import descriptors
from mailkit.tap.errors import SettingError, StartError
from mailkit.tap.factories import PORT_NAMES
from mailkit.tap.ftp_settings import FTPSettings
from mailkit.tap.ports import parse_endpoint
from mailkit.tap.services import MailService
from mailkit.tap.settings import FilterSettings, Limits, LoginSettings
from mailkit.tap.tls import self_signed
from mailkit.tcp import BACKLOG, Port

HERE = __name__
ANN = "ann@example.org"
INFO = ConnectionInfo("imap", "127.0.0.1")


class CountingStore(MemoryStore):
    """Knows whether it is open."""

    made: list[CountingStore] = []

    def __init__(self) -> None:
        super().__init__()
        self.closed = False
        self.made.append(self)

    async def close(self) -> None:
        self.closed = True
        await super().close()


@implementer(IMailStore)
class AddresslessStore:
    """A backend that only shows mail."""

    closed = False

    async def close(self) -> None:
        AddresslessStore.closed = True


@implementer(IPasswordVerifier)
class SilentBase:
    """Never answers; knows whether the store was closed before it was let go."""

    def __init__(self) -> None:
        self.closed_before: list[bool] = []

    async def verify_password(self, login: str, password: bytes) -> str | None:
        try:
            return await Deferred()
        except CancelledError:
            self.closed_before.append(CountingStore.made[-1].closed)
            raise


def make_locked() -> None:
    raise StoreUnavailable("in use by process 1")


def fire(coroutine: Any) -> Deferred[Any]:
    return Deferred.fromCoroutine(coroutine)


class ServiceTestCase(SynchronousTestCase):
    """Makes services on a reactor in memory."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.reactor.callFromThread = lambda f, *a: f(*a)  # type: ignore[attr-defined]
        CountingStore.made = []

    def make(self, store: Any = None, **settings: Any) -> MailService:
        return MailService(store or MemoryStore(), reactor=self.reactor, **settings)

    def stop(self, service: MailService) -> None:
        stopped = service.stopService()
        for _ in range(500):
            self.reactor.advance(0.02)
        self.successResultOf(stopped)

    def factory(self, index: int = 0) -> Any:
        return self.reactor.tcpServers[index][1]

    def connect(self, index: int = 0) -> tuple[Any, StringTransportWithDisconnection]:
        protocol = self.factory(index).buildProtocol(None)
        transport = StringTransportWithDisconnection()
        transport.protocol = protocol
        transport.abortConnection = transport.loseConnection  # type: ignore[attr-defined]
        protocol.makeConnection(transport)
        return protocol, transport


class PortTests(ServiceTestCase):
    """Which server listens where."""

    def test_each_server_greets(self) -> None:
        service = self.make()
        for name in ("smtp", "lmtp", "submission", "pop3", "imap"):
            service.add_port(name, "tcp:0:interface=127.0.0.1")
        service.startService()
        for index, greeting in enumerate((b"220 ", b"220 ", b"220 ", b"+OK ", b"* OK ")):
            _, transport = self.connect(index)
            self.assertTrue(transport.value().startswith(greeting), transport.value())
        self.stop(service)

    def test_implicit_tls_wraps_the_same_factory(self) -> None:
        tls = ",".join(self_signed(self.mktemp()))
        service = self.make(tls=tls)
        service.add_imap("tcp:1")
        service.add_imap("tcp:2", implicit_tls=True)
        service.add_pop3("tcp:3", implicit_tls=True)
        service.add_submission("tcp:4", implicit_tls=True)
        service.startService()
        self.assertIsInstance(self.factory(1), TLSMemoryBIOFactory)
        self.assertIs(self.factory(1).wrappedFactory, self.factory(0))
        self.assertEqual(len({id(self.factory(n).wrappedFactory) for n in (1, 2, 3)}), 3)
        self.stop(service)

    def test_proxies_of_all_services_and_of_one(self) -> None:
        tls = ",".join(self_signed(self.mktemp()))
        service = self.make(tls=tls, proxy_from=["192.0.2.1", "imaps:2001:db8::/32"])
        for number, name in enumerate(("smtp", "imap", "imaps"), 1):
            service.add_port(name, f"tcp:{number}")
        service.startService()
        proxies = [self.factory(n).proxies for n in range(3)]
        self.assertEqual(["192.0.2.1" in each for each in proxies], [True, True, True])
        self.assertEqual(["2001:db8::1" in each for each in proxies], [False, False, True])
        # The header comes before TLS.
        self.assertIsInstance(self.factory(2).wrappedFactory, TLSMemoryBIOFactory)
        self.stop(service)

    def test_implicit_tls_needs_a_certificate(self) -> None:
        for name in ("submissions", "pop3s", "imaps"):
            error = self.assertRaises(SettingError, self.make().add_port, name, "tcp:1")
            self.assertIn(name, str(error))

    def test_starttls_is_offered_with_a_certificate_only(self) -> None:
        for tls in (None, ",".join(self_signed(self.mktemp()))):
            service = self.make(tls=tls)
            service.add_pop3("tcp:1")
            service.startService()
            connection, transport = self.connect(-1)
            connection.dataReceived(b"CAPA\r\n")
            self.assertEqual(b"STLS" in transport.value(), tls is not None)
            self.stop(service)

    def test_clients_leave_descriptors_for_the_store(self) -> None:
        self.patch(descriptors, "open_files_limit", lambda: 1024)
        service = self.make()
        service.add_imap("tcp:1")
        service.add_pop3("tcp:2")
        service.startService()
        self.assertEqual([self.factory(n).max_connections for n in (0, 1)], [231, 231])
        self.stop(service)
        service = self.make(limits=Limits(max_connections=20))
        service.add_smtp("tcp:3")
        self.assertEqual(service._factories["smtp"].max_connections, 20)

    def test_unknown_names_and_endpoints(self) -> None:
        self.assertRaises(SettingError, self.make().add_port, "gopher", "tcp:1")
        for endpoint in ("", "143", "tcp:x", "foo:1"):
            error = self.assertRaises(SettingError, self.make().add_imap, endpoint)
            self.assertIn(repr(endpoint), str(error))

    def test_many_clients_may_come_at_once(self) -> None:
        given = {
            "tcp:1": BACKLOG,
            "tcp:2:interface=127.0.0.1": BACKLOG,
            "tcp:3:backlog=7": 7,
            "tcp:backlog=8:port=4": 8,
            # port, interface, backlog by their positions
            "tcp:5:127.0.0.1:9": 9,
        }
        service = self.make()
        for endpoint in given:
            service.add_imap(endpoint)
        service.add_imap(r"unix:/run/a\:backlog\=5")
        service.add_imap("unix:/run/b:backlog=6")
        service.startService()
        backlogs = [backlog for _, _, backlog, _ in self.reactor.tcpServers]
        self.assertEqual(backlogs, list(given.values()))
        unix = [(path, backlog) for path, _, backlog, _, _ in self.reactor.unixServers]
        self.assertEqual(unix, [("/run/a:backlog=5", BACKLOG), ("/run/b", 6)])
        self.stop(service)

    def test_a_real_reactor_gets_our_ports(self) -> None:
        from twisted.internet import reactor

        endpoint: Any = parse_endpoint("tcp:0:interface=127.0.0.1", reactor)
        port = self.successResultOf(endpoint.listen(Factory()))
        self.addCleanup(port.stopListening)
        self.assertIsInstance(port, Port)

    def test_limits_and_hostname_reach_the_protocols(self) -> None:
        limits = Limits(max_message_size=1234, max_connections=1)
        service = self.make(limits=limits, hostname="mx.example.org")
        service.add_smtp("tcp:1")
        service.startService()
        connection, transport = self.connect()
        connection.dataReceived(b"EHLO x\r\n")
        self.assertIn(b"220 mx.example.org", transport.value())
        self.assertIn(b"SIZE 1234\r\n", transport.value())
        _, second = self.connect()
        self.assertTrue(second.value().startswith(b"421 "))
        self.stop(service)

    def test_lmtp_is_for_unix_sockets_and_not_for_port_25(self) -> None:
        # RFC 2033 section 5
        for endpoint in ("tcp:25", "tcp6:25:interface=\\:\\:1"):
            service = self.make()
            service.add_lmtp(endpoint)
            error = self.assertRaises(StartError, service.startService)
            self.assertEqual((error.setting, error.value), ("lmtp", endpoint))
            self.assertIn("port 25", str(error))
        service = self.make()
        service.add_smtp("tcp:25")
        service.add_lmtp("unix:/run/mailkit/lmtp:mode=660")
        service.startService()
        address, factory, _, mode, _ = self.reactor.unixServers[0]
        self.assertEqual((address, mode), ("/run/mailkit/lmtp", 0o660))
        self.assertIsInstance(factory, LMTPFactory)
        self.stop(service)

    def test_all_names_are_served(self) -> None:
        service = self.make(
            tls=",".join(self_signed(self.mktemp())), ftp=FTPSettings(files=self.mktemp())
        )
        for number, name in enumerate(PORT_NAMES, 1):
            service.add_port(name, f"tcp:{number}")
        service.startService()
        ports = [server[0] for server in self.reactor.tcpServers]
        self.assertEqual(ports, list(range(1, len(PORT_NAMES) + 1)))
        self.stop(service)

    def test_a_server_may_be_added_to_one_that_runs(self) -> None:
        service = self.make()
        service.add_imap("tcp:1")
        service.startService()
        service.add_pop3("tcp:2")
        _, transport = self.connect(1)
        self.assertTrue(transport.value().startswith(b"+OK"))
        self.assertIsNotNone(self.factory(1).portal)
        self.stop(service)


class StartTests(ServiceTestCase):
    """Order, and what happens when it goes wrong."""

    def test_ports_before_the_store_and_both_before_any_client(self) -> None:
        service = self.make(f"{HERE}.CountingStore")
        service.add_imap("tcp:1")
        self.assertEqual((self.reactor.tcpServers, CountingStore.made), ([], []))
        service.privilegedStartService()
        self.assertEqual((len(self.reactor.tcpServers), CountingStore.made), (1, []))
        service.startService()
        self.assertEqual((len(self.reactor.tcpServers), len(CountingStore.made)), (1, 1))
        self.stop(service)

    def test_a_port_that_is_taken_is_named(self) -> None:
        def listen(port: int, *_: Any, **__: Any) -> None:
            raise CannotListenError("", port, OSError(98, "Address already in use"))

        self.reactor.listenTCP = listen  # type: ignore[method-assign]
        service = self.make(f"{HERE}.CountingStore")
        service.add_imap("tcp:143")
        for start in (service.privilegedStartService, service.startService):
            error = self.assertRaises(StartError, start)
            self.assertEqual(str(error), "imap tcp:143: Address already in use")
            self.reactor.advance(10)
        # The store that was opened is not left open.
        self.assertEqual([store.closed for store in CountingStore.made], [True])

    def test_a_store_that_cannot_be_opened_is_named(self) -> None:
        service = self.make(f"{HERE}.make_locked")
        service.add_imap("tcp:1")
        error = self.assertRaises(StartError, service.startService)
        self.assertEqual(str(error), f"store {HERE}.make_locked: in use by process 1")

    def test_a_store_without_addresses_takes_no_mail(self) -> None:
        checker = InMemoryUsernamePasswordDatabaseDontUse(ann=b"x")
        service = self.make(AddresslessStore(), logins=LoginSettings(checkers=[checker]))
        service.add_imap("tcp:1")
        service.startService()
        self.stop(service)
        service.add_smtp("tcp:2")
        error = self.assertRaises(StartError, service.startService)
        self.assertIn("cannot take mail", str(error))

    def test_a_store_without_accounts_needs_a_checker(self) -> None:
        AddresslessStore.closed = False
        service = self.make(f"{HERE}.AddresslessStore")
        service.add_imap("tcp:1")
        error = self.assertRaises(StartError, service.startService)
        self.assertIn("needs a checker", str(error))
        self.reactor.advance(0)
        self.reactor.advance(0)
        self.assertTrue(AddresslessStore.closed)


def no_hook(argument: str) -> str:
    """Gives something that is no hook."""
    return argument


class RefusingHook(MailHook):
    """Refuses whoever connects."""

    made = 0

    def __init__(self, text: str = "no") -> None:
        if text == "bad":
            raise ZeroDivisionError
        self.text = text
        RefusingHook.made += 1

    def connect(self, session: Any) -> Any:
        return Reject(self.text)


class HookTests(ServiceTestCase):
    """Hooks are made when the service starts, for the services that take mail."""

    def greeting(self, service: MailService, protocol: str) -> bytes:
        transport = StringTransportWithDisconnection()
        connection = service._factories[protocol].buildProtocol(None)
        transport.protocol = connection
        connection.makeConnection(transport)
        return transport.value()

    def test_hooks_are_asked(self) -> None:
        RefusingHook.made = 0
        settings = HookSettings(timeout=7.0)
        service = self.make(
            filters=FilterSettings(
                hooks=[f"smtp:{HERE}.RefusingHook:never"], hook_settings=settings
            )
        )
        service.add_smtp("tcp:1")
        service.add_lmtp("tcp:2")
        service.add_imap("tcp:3")
        self.assertEqual(RefusingHook.made, 0)
        service.startService()
        self.assertEqual(RefusingHook.made, 1)
        (hook_set,) = service._hook_sets()
        self.assertIs(hook_set.settings, settings)
        self.assertTrue(self.greeting(service, "smtp").startswith(b"554 "))
        self.assertTrue(self.greeting(service, "lmtp").startswith(b"220 "))
        self.stop(service)

    def test_what_they_do_at_the_end_is_waited_for(self) -> None:
        gates: list[Deferred[None]] = []

        class Hook(MailHook):
            def disconnect(self, session: Any) -> Deferred[None]:
                gates.append(Deferred())
                return gates[-1]

        for patient in (True, False):
            service = self.make(filters=FilterSettings(hooks=[Hook()]))
            service.add_smtp("tcp:1")
            service.startService()
            self.greeting(service, "smtp")
            service.stop_timeout = 1.0
            stopped = service.stopService()
            self.reactor.pump([0.1] * 5)
            if patient:
                self.assertNoResult(stopped)
                gates[-1].callback(None)
            self.reactor.pump([0.1] * 10)
            self.successResultOf(stopped)
            self.assertTrue(gates[-1].called)

    def test_quarantine_leads_to_the_junk_mailbox(self) -> None:
        class Hook(MailHook):
            def mail(self, session: Any, envelope: Any) -> Any:
                return None if envelope.reverse_path.is_null else Quarantine("odd")

        store = MemoryStore()
        self.successResultOf(fire(store.add_account(name=ANN)))
        service = self.make(store, filters=FilterSettings(hooks=[Hook()]))
        service.add_smtp("tcp:1")
        service.startService()
        transport = StringTransportWithDisconnection()
        connection = service._factories["smtp"].buildProtocol(None)
        transport.protocol = connection
        connection.makeConnection(transport)
        for sender in ("", "a@example.net"):
            connection.dataReceived(
                f"HELO c\r\nMAIL FROM:<{sender}>\r\nRCPT TO:<{ANN}>\r\nDATA\r\n"
                f"\r\nfrom {sender}\r\n.\r\n".encode()
            )
            self.reactor.advance(0)
        account = self.successResultOf(fire(store.open_account(name=ANN)))
        for name, text in (("INBOX", b"\r\nfrom \r\n"), ("Junk", b"\r\nfrom a@example.net\r\n")):
            mailbox = self.successResultOf(fire(account.open_mailbox(name=name)))
            uids = self.successResultOf(fire(mailbox.list_uids()))
            self.assertEqual(len(uids), 1)
            with self.successResultOf(fire(mailbox.open_message(uid=uids[0]))) as file:
                self.assertTrue(file.read().endswith(text))
        self.stop(service)

    def test_hooks_that_cannot_be_made(self) -> None:
        for name, reason in (
            ("RefusingHook:bad", "ZeroDivisionError"),
            ("no_hook:x", "is no hook"),
        ):
            service = self.make(filters=FilterSettings(hooks=[f"{HERE}.{name}"]))
            service.add_smtp("tcp:1")
            error = self.assertRaises(StartError, service.startService)
            self.assertEqual((error.setting, error.value), ("hook", f"{HERE}.{name}"))
            self.assertIn(reason, error.reason)


class StopTests(ServiceTestCase):
    """Clients are told, the store is closed last."""

    def start(self, store: Any) -> MailService:
        service = self.make(store)
        for name in ("smtp", "pop3", "imap"):
            service.add_port(name, "tcp:1")
        service.startService()
        return service

    def test_clients_hear_goodbye_where_the_protocol_has_one(self) -> None:
        service = self.start(None)
        smtp, pop3, imap = (self.connect(index)[1] for index in range(3))
        stopped = service.stopService()
        self.reactor.advance(0.02)
        self.reactor.advance(0)
        self.successResultOf(stopped)
        self.assertIn(b"\r\n421 ", smtp.value())
        self.assertIn(b"\r\n* BYE ", imap.value())
        self.assertEqual([t.connected for t in (smtp, pop3, imap)], [False, False, False])

    def test_a_client_that_does_not_go_is_cut_off(self) -> None:
        service = self.start(None)
        _, transport = self.connect(2)
        closed, transport.loseConnection = transport.loseConnection, lambda: None
        transport.abortConnection = closed
        stopped = service.stopService()
        self.reactor.advance(1)
        self.assertNoResult(stopped)
        for _ in range(10):
            self.reactor.advance(1)
        self.successResultOf(stopped)
        self.assertFalse(transport.connected)

    def test_a_store_of_ours_is_closed(self) -> None:
        service = self.start(f"{HERE}.CountingStore")
        self.connect(2)
        stopped = service.stopService()
        self.assertFalse(CountingStore.made[0].closed)
        self.reactor.advance(0.02)
        self.reactor.advance(0)
        self.successResultOf(stopped)
        self.assertTrue(CountingStore.made[0].closed)

    def test_no_login_is_judged_without_the_store(self) -> None:
        """Also none whose client has been cut off."""
        base = SilentBase()
        logins = LoginSettings(checkers=[UserBaseChecker(base, clock=self.reactor)])
        service = self.make(f"{HERE}.CountingStore", logins=logins)
        service.add_imap("tcp:1")
        service.startService()
        self.factory().allow_plaintext_passwords = True
        protocol, _ = self.connect()
        protocol.dataReceived(b"a LOGIN ann@example.org secret\r\n")
        self.assertEqual(base.closed_before, [])
        self.stop(service)
        self.assertEqual(base.closed_before, [False])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_store_of_the_caller_stays_open(self) -> None:
        store = CountingStore()
        self.stop(self.start(store))
        self.assertFalse(store.closed)

    def test_starts_again_after_a_stop(self) -> None:
        service = self.start(f"{HERE}.CountingStore")
        self.stop(service)
        service.startService()
        self.assertEqual([store.closed for store in CountingStore.made], [True, False])
        _, transport = self.connect(-1)
        self.assertTrue(transport.value().startswith(b"* OK"))
        self.stop(service)


class LoginTests(ServiceTestCase):
    """Who may log in."""

    def setUp(self) -> None:
        super().setUp()
        self.store = MemoryStore()
        hashed = f"{PLAIN_PREFIX}secret"
        self.successResultOf(fire(self.store.add_account(name=ANN, password_hash=hashed)))

    def login(self, service: MailService, user: bytes, password: bytes, kind: Any) -> Deferred[Any]:
        portal = self.factory().portal
        return portal.login(UsernamePassword(user, password), INFO, kind)

    def start(self, **settings: Any) -> MailService:
        service = self.make(self.store, logins=LoginSettings(**settings))
        service.add_imap("tcp:1")
        service.startService()
        self.addCleanup(self.stop, service)
        return service

    def test_the_stores_own_accounts(self) -> None:
        service = self.start()
        for name in (ANN.encode(), b"ann"):
            login = self.login(service, name, b"secret", IMailAccount)
            self.assertEqual(self.successResultOf(login)[1].name, ANN)

    def test_mail_is_taken_from_anybody(self) -> None:
        self.start()
        portal = self.factory().portal
        login = portal.login(Anonymous(), INFO, IMessageDelivery)
        self.assertIsInstance(self.successResultOf(login)[1], LocalMessageDelivery)

    def test_a_checker_replaces_the_stores_accounts_and_makes_new_ones(self) -> None:
        checker = InMemoryUsernamePasswordDatabaseDontUse(bob=b"x", ann=b"y")
        service = self.start(checkers=[checker])
        login = self.login(service, b"bob", b"x", IMailAccount)
        self.assertEqual(self.successResultOf(login)[1].name, "bob@example.org")
        login = self.login(service, b"ann", b"y", IMailAccount)
        self.assertEqual(self.successResultOf(login)[1].name, ANN)
        login = self.login(service, b"ann", b"secret", IMailAccount)
        self.failureResultOf(login, UnauthorizedLogin)

    def test_a_checker_beside_the_stores_accounts(self) -> None:
        checker = InMemoryUsernamePasswordDatabaseDontUse(ann=b"y")
        service = self.start(checkers=[checker], store_accounts=True)
        login = self.login(service, b"ann", b"secret", IMailAccount)
        self.assertEqual(self.successResultOf(login)[1].name, ANN)
