"""``--route``: which domains' mail goes elsewhere than into the store, and how the rest is kept."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

from zope.interface.verify import verifyObject

from mailkit.delivery.duplicates import Duplicates, Served
from mailkit.delivery.local import LocalMessageDelivery
from mailkit.delivery.routing import Routes, RoutingDelivery
from mailkit.errors import MailError
from mailkit.interfaces import IClosableDelivery, IMessageDelivery
from mailkit.model import INBOX, Ability, ConnectionInfo
from mailkit.store.addresses import valid_domain
from mailkit.tap.errors import SettingError, StartError
from mailkit.tap.strict_options import StrictOptions
from mailkit.wire.domains import is_dns_name
from mailkit.wire.networks import Networks

if TYPE_CHECKING:
    from mailkit.delivery.queueing import CheckDomain, TakeReport
    from mailkit.queue.manager import QueueManager
    from mailkit.queue.starting import QueueStarter
    from mailkit.signing.srs import SRS

#: Stands for all domains without a route of their own.
ANY_DOMAIN = "*"
#: Octets of the file that ``--route-secret`` names.
MAX_SECRET = 4096

KNOWN = "maildir:PATH, lmtp:SERVER, smtp:SERVER, http(s)://..., mailbox:ACCOUNT[/NAME], dotted.name"

#: Makes a delivery for some domains beside a store.
Maker: TypeAlias = Callable[[Any, Sequence[str]], Any]


class Route(NamedTuple):
    """A delivery that was looked up, and the domains that lead to it."""

    #: As the setting has it.
    name: str
    domains: list[str]
    make: Maker


def split_route(text: str) -> tuple[str, str]:
    """Domain and delivery of ``DOMAIN=DELIVERY``.

    :raises SettingError: it is not of that kind.
    """
    domain, equals, delivery = text.partition("=")
    if not equals or not domain or not delivery:
        raise SettingError(f"{text!r} is no route; write DOMAIN=DELIVERY, with one of {KNOWN}")
    return domain.strip(), delivery.strip()


def split_routes(texts: Sequence[str]) -> dict[str, str]:
    """The routes that ``--route`` names.

    :raises SettingError: one is none, or a domain has two.
    """
    routes: dict[str, str] = {}
    for text in texts:
        domain, delivery = split_route(text)
        if domain in routes:
            raise SettingError(f"{domain} has two routes")
        routes[domain] = delivery
    return routes


def table_routes(table: Mapping[str, object]) -> list[str]:
    """What ``--route`` takes, from a table of deliveries by domain.

    :raises SettingError: a delivery is no text.
    """
    for domain, delivery in table.items():
        if not isinstance(delivery, str):
            raise SettingError(f"{domain} must be a string, one of {KNOWN}")
    return [f"{domain}={delivery}" for domain, delivery in table.items()]


def parse_routes(
    routes: Mapping[str, str | IMessageDelivery], secret: bytes | None = None
) -> list[Route]:
    """Look up where mail goes, without opening anything yet.

    :param routes: what ``--route`` takes behind the ``=``, or deliveries, by domain.
    :param secret: signs HTTP requests.
    :raises SettingError: a domain is none, or nothing has that name.
    """
    found: dict[Any, Route] = {}
    for name, target in routes.items():
        domain = name
        if name != ANY_DOMAIN:
            try:
                domain = valid_domain(name)
            except MailError as error:
                raise SettingError(f"{name!r} is no domain") from error
        key: Any = target if isinstance(target, str) else id(target)
        if key not in found:
            try:
                maker = parse_delivery(target, secret)
            except (SettingError, ValueError) as error:
                raise SettingError(f"{name}={target}: {error}") from error
            found[key] = Route(f"{name}={target}", [], maker)
        found[key].domains.append(domain)
    return list(found.values())


def read_secret(path: str) -> bytes:
    """The secret in a file, without the end of its line.

    :raises SettingError: it cannot be read, or is empty.
    """
    try:
        with open(path, "rb") as file:
            secret = file.read(MAX_SECRET + 1).rstrip(b"\r\n")
    except OSError as error:
        raise SettingError(f"cannot read {path}: {error.strerror}") from error
    if not 0 < len(secret) <= MAX_SECRET:
        raise SettingError(f"{path} must hold a secret of 1 to {MAX_SECRET} octets")
    return secret


def parse_delivery(target: str | IMessageDelivery, secret: bytes | None = None) -> Maker:
    """What makes a delivery.

    :raises SettingError: nothing has that name.
    """
    if not isinstance(target, str):
        if not IMessageDelivery.providedBy(target):
            raise SettingError(f"{target!r} is no delivery")
        return lambda store, domains: target
    scheme, colon, rest = target.partition(":")
    if scheme in ("http", "https") and colon:
        from mailkit.delivery.http import HTTPDelivery

        return _made(HTTPDelivery(target, secret))
    if scheme == "maildir" and colon:
        from mailkit.delivery.maildir import MaildirDelivery

        path = rest.removesuffix(":create")
        return _made(MaildirDelivery(path, create=path != rest))
    if scheme in ("lmtp", "smtp") and colon:
        from mailkit.delivery.lmtp import ServerDelivery
        from mailkit.smtp.client import ClientSettings, parse_server

        settings = None if scheme == "lmtp" else ClientSettings()
        parse_server(rest, settings or ClientSettings(lmtp=True))
        return _made(ServerDelivery(rest, settings))
    if scheme == "mailbox" and colon:
        return _parse_mailbox(rest)
    if "." in scheme:
        return _parse_dotted(scheme, rest if colon else None)
    raise SettingError(f"there is no such delivery; known are {KNOWN}")


def _made(delivery: Any) -> Maker:
    return lambda store, domains: delivery


def _parse_mailbox(text: str) -> Maker:
    from mailkit.delivery.mailbox import MailboxDelivery

    account, _, mailbox = text.partition("/")
    if "@" not in account:
        raise SettingError("name an account and a mailbox, such as ann@example.org/Lists")
    return lambda store, domains: MailboxDelivery(store, account, mailbox or INBOX)


def _parse_dotted(name: str, argument: str | None) -> Maker:
    from twisted.python.reflect import namedAny

    from mailkit.delivery.callback import CallableDelivery

    try:
        found: Any = namedAny(name)
    except Exception as error:
        # Whatever a module of somebody else's may do when it is loaded.
        reason = str(error) or type(error).__name__
        hint = f"; for a server write smtp:{name} or lmtp:{name}" if is_dns_name(name) else ""
        raise SettingError(f"cannot load {name}: {reason}{hint}") from error
    if IMessageDelivery.providedBy(found):
        return _made(found)
    if _takes_messages(found):
        if argument is not None:
            raise SettingError(f"{name} is called with each message and takes no argument")
        return lambda store, domains: CallableDelivery(found, domains)
    if not callable(found):
        raise SettingError(f"{name} is neither a delivery nor something that gives one")
    if inspect.iscoroutinefunction(found) or (
        inspect.isfunction(found) and not _takes(found, 0 if argument is None else 1)
    ):
        raise SettingError(
            f"{name} is no function for mail, which is called with an envelope and a message;"
            " nor one that makes a delivery, of nothing or of the ARGUMENT in NAME:ARGUMENT"
        )
    return lambda store, domains: found() if argument is None else found(argument)


def _takes_messages(found: Any) -> bool:
    """Whether it is called with each message; other functions are called once, to make a delivery."""
    if inspect.iscoroutinefunction(found):
        return _takes(found, 2)
    if not inspect.isfunction(found):
        return False
    parameters = inspect.signature(found).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in parameters if p.default is p.empty and p.kind in positional]
    return len(needed) == 2


def _takes(function: Any, count: int) -> bool:
    """Whether a function can be called with so many arguments."""
    try:
        inspect.signature(function).bind(*(None,) * count)
    except TypeError:
        return False
    return True


class Deliveries:
    """Makes the deliveries of a mail service, for everybody and for users.

    :param routes: where mail goes that does not go into the store.
    :param suppress_duplicates: seconds in which a mailbox gets no message twice; 0 for never.
    :param settings: of :class:`~mailkit.delivery.local.LocalMessageDelivery`.
    """

    def __init__(
        self, routes: Sequence[Route] = (), suppress_duplicates: float = 0, **settings: Any
    ) -> None:
        self._routes = routes
        self._window = suppress_duplicates
        self._settings = settings
        self._store: Any = None
        self._directory: Any = None
        self._made: list[Any] = []
        # What all who have not logged in share, where all their mail is for the store.
        self._for_all: LocalMessageDelivery | None = None
        self._table: Routes | None = None
        #: Sends what goes elsewhere; None where no such mail is taken.
        self.queue: QueueManager | None = None
        #: Takes reports to the reverse-paths that it has made.
        self.srs: SRS | None = None
        #: Lets clients ask for the mail of domains; None where nobody may.
        self.starter: QueueStarter | None = None
        #: Hears of what comes back to the senders of messages; None where nobody wants to.
        self.take_report: TakeReport | None = None
        #: Judges domains to which mail is to be queued; None where it is taken for all.
        self.check_domain: CheckDomain | None = None
        #: Clients whose mail is sent on though they have not logged in.
        self.trusted = Networks()

    def open(self, store: Any, directory: Any = None) -> None:
        """Get ready to deliver into a store.

        :param directory: knows the recipients, instead of the store itself.
        :raises StartError: the delivery of a route cannot be made.
        """
        self._store = store
        self._directory = directory or store
        self._for_all = None
        self._settings["served"] = Served()
        if self._window:
            self._settings["duplicates"] = Duplicates(self._window)
        domains: dict[str, Any] = {}
        for route in self._routes:
            try:
                delivery = route.make(store, route.domains)
                if not IMessageDelivery.providedBy(delivery):
                    raise ValueError(f"{delivery!r} does not provide IMessageDelivery")
                verifyObject(IMessageDelivery, delivery)
            except Exception as error:
                # Whatever the code of somebody else's may do.
                reason = " ".join(str(error).split()) or type(error).__name__
                raise StartError("route", route.name, reason) from error
            self._made.append(delivery)
            domains.update(dict.fromkeys(route.domains, delivery))
        if domains:
            default = domains.pop(ANY_DOMAIN, None)
            self._table = Routes(domains, default)

    def make(self, account: str | None, client: ConnectionInfo) -> LocalMessageDelivery:
        """A delivery for a user, or for everybody."""
        if self.queue is not None:
            # Here, because a server that has no queue need not load what works on one.
            from mailkit.delivery.queueing import QueueingDelivery

            return QueueingDelivery(
                self._store,
                self._directory,
                account,
                queue=self.queue,
                routes=self._table,
                srs=self.srs,
                starter=self.starter,
                take_report=self.take_report,
                address=client.peer,
                check_domain=self.check_domain,
                trusted=client.protocol in ("smtp", "lmtp") and client.peer in self.trusted,
                **self._settings,
            )
        if self._table is None:
            if account is None and self._for_all is not None:
                return self._for_all
            made = LocalMessageDelivery(self._store, self._directory, account, **self._settings)
            if account is None:
                # It knows nothing of a client.
                self._for_all = made
            return made
        return RoutingDelivery(
            self._store, self._directory, account, routes=self._table, **self._settings
        )

    def add_route(self, domain: str, delivery: IMessageDelivery) -> None:
        """Let one more domain's mail go to a delivery, once this is open."""
        table = self._table or Routes()
        self._table = Routes({**table.domains, domain: delivery}, table.default)

    def find_route(self, domain: str) -> IMessageDelivery | None:
        """The delivery of a domain that has one of its own."""
        return None if self._table is None else self._table.find(domain)

    def abilities(self, account: str | None) -> frozenset[Ability]:
        """What the deliveries for a user, or for everybody, can promise."""
        return self.make(account, ConnectionInfo("smtp")).abilities

    async def close(self) -> None:
        """Release what the routes hold."""
        made, self._made = self._made, []
        for delivery in made:
            if IClosableDelivery.providedBy(delivery):
                await delivery.close()


class RouteOptions(StrictOptions):
    """The options, for commands that take mail."""

    optParameters: ClassVar[list[list[Any]]] = [
        ["route-secret", None, None, "File with the secret that signs what --route sends by HTTP"],
        [
            "suppress-duplicates",
            None,
            None,
            "Put no message into a mailbox that got one of that Message-ID so many seconds before",
        ],
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        [
            "detail-to-mailbox",
            None,
            "Put mail for user+NAME@ into the user's mailbox NAME where there is one",
        ],
        [
            "detail-by-acl",
            None,
            "Put mail for user+NAME@ into NAME only where its list gives the sender the right p",
        ],
    ]
    table_settings = ["routes"]

    def opt_route(self, route: str) -> None:
        """Give the mail of a domain to somebody else than the store: DOMAIN=DELIVERY, with
        maildir:/var/mail/%d/%u, lmtp:unix:/path, lmtp:host:port, smtp:host, https://...,
        mailbox:ACCOUNT/NAME or a dotted.name; * for what leaves by users and aliases. May be
        repeated."""
        self.lists["route"].append(route)
