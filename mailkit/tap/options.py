"""What twistd's commands have in common: settings, and errors that name them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, TypeAlias

from twisted.copyright import version as twisted_version
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import AuthOptionMixin
from twisted.python import usage

from mailkit import __version__
from mailkit._typing import override
from mailkit.auth.checkers import AuthRule, StoreAccounts
from mailkit.interfaces import IBearerToken
from mailkit.tap import ftp_settings, imap_settings, pop3_settings
from mailkit.tap.capabilities import parse_capabilities, parse_clients, parse_quirks
from mailkit.tap.checks import Checks
from mailkit.tap.client_certificates import parse_client_certificates
from mailkit.tap.endpoint_options import EndpointOptions
from mailkit.tap.errors import SettingError
from mailkit.tap.extensions import (
    parse_access,
    parse_bare_line_ends,
    parse_extension_table,
    parse_solicitation,
    parse_switches,
)
from mailkit.tap.factories import IMPLICIT_TLS, PORT_NAMES
from mailkit.tap.ftp_settings import parse_ftp_settings
from mailkit.tap.gssapi_settings import parse_gssapi
from mailkit.tap.guests import parse_guests
from mailkit.tap.hooks import parse_hook_settings, parse_hooks
from mailkit.tap.imap_settings import parse_imap_settings
from mailkit.tap.login_guard import parse_login_guard
from mailkit.tap.milters import parse_milters
from mailkit.tap.networks import parse_names, parse_networks
from mailkit.tap.pop3_settings import parse_pop3_settings
from mailkit.tap.relay import Relay, check_process, read_login, relay_target
from mailkit.tap.routes import parse_routes, read_secret, split_routes
from mailkit.tap.service_tls import ServiceTLS, TLSOptions
from mailkit.tap.settings import (
    Limits,
    LoginSettings,
)
from mailkit.tap.sharing import OTHER_USERS, SHARED, parse_sharing
from mailkit.tap.smtp_limits import parse_smtp_limits
from mailkit.tap.stores import DEFAULT_STORE, STORE_VARIABLE, default_store, parse_store
from mailkit.tap.user_bases import parse_rule
from mailkit.tap.values import (
    check_hostname,
    parse_count,
    parse_mechanisms,
    parse_separator,
    parse_size,
)
from mailkit.tap.workers import check_workers

#: Names of settings, with what reads each.
_Settings: TypeAlias = "Iterator[tuple[str, Callable[[], object]]]"

_LIMITS: dict[str, Callable[[str], int]] = {
    "max-message-size": parse_size,
    "max-connections": parse_count,
    "max-connections-per-address": parse_count,
    "max-sessions-per-account": parse_count,
}


def _octets(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text


class MailOptions(EndpointOptions, TLSOptions, AuthOptionMixin):
    """Settings that each command has."""

    supportedInterfaces = (IUsernamePassword, IBearerToken)

    optParameters: ClassVar[list[list[Any]]] = [
        [
            "store",
            None,
            None,
            "Where mail and accounts are kept: sqlite:DIR, memory:, or dotted.name[:argument]"
            f" [default: ${STORE_VARIABLE} or {DEFAULT_STORE}]",
        ],
        ["max-connections", None, None, "Connections of a protocol at a time [default: 10000]"],
        [
            "max-connections-per-address",
            None,
            None,
            "The same for one client address, loopback exempt [default: 200]",
        ],
        [
            "workers",
            None,
            None,
            "Processes that serve, for a store that several can have open, and one more that makes its"
            " changes; rates and max-connections hold for each of them [default: 1]",
        ],
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        [
            "no-create-accounts",
            None,
            "Make no account for a user whom --auth knows and the store does not",
        ],
    ]
    list_settings = ["proxy-from"]
    #: Shown below the options as they stand.
    examples = ""
    #: It has something to do without an endpoint.
    works_alone: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.store_accounts = False
        #: What ``--auth`` says, and ``[[auth]]`` of the settings file.
        self.auth_rules: list[AuthRule] = []
        self.hook_settings: Any = None
        self.route_secret: bytes | None = None
        #: What ``--relay`` and what belongs to it say, where a command has it.
        self.relay: Relay | None = None
        self.service_tls: ServiceTLS | None = None
        self.limits = Limits()
        self.logins = LoginSettings()
        #: How many processes serve.
        self.workers = 1
        #: The options as they were given, and where.
        self.arguments: list[str] = []
        self.origin = ""

    @override
    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        self.origin = os.getcwd()
        self.arguments = list(sys.argv[1:] if options is None else options)
        super().parseOptions(options)

    # Options that are more than a value.

    @override
    def opt_auth(self, description: str) -> None:
        """Who may log in: [DOMAIN,...=] and a user base or checker (--help-auth), `store` for the
        store's own accounts, or a dotted.name; may be repeated."""
        try:
            self.add_auth(parse_rule(description))
        except (SettingError, usage.UsageError) as error:
            raise usage.UsageError(f"{self.place('auth')} {description}: {error}") from error

    def add_auth(self, rule: AuthRule) -> None:
        """Let a checker say who may log in."""
        if isinstance(rule.checker, StoreAccounts) and not (rule.domains or rule.final):
            self.store_accounts = True
            return
        self.addChecker(rule.checker)
        self.auth_rules.append(rule)

    def opt_proxy_from(self, network: str) -> None:
        """Expect the PROXY protocol (v1 or v2) from this address or NETWORK, or from `unix`
        sockets, and from nobody else; for one service with SERVICE:NETWORK. May be repeated."""
        self.lists["proxy-from"].append(network)

    @override
    def addChecker(self, checker: Any) -> None:
        """Take a checker that an option named."""
        if isinstance(checker, InMemoryUsernamePasswordDatabaseDontUse):
            # Twisted's `memory:` keeps the command line's text, which no client's octets equal.
            for name, password in list(checker.users.items()):
                checker.addUser(_octets(name), _octets(password))
        super().addChecker(checker)  # type: ignore[no-untyped-call]

    @override
    def opt_version(self) -> None:
        """Display the versions of mailkit and Twisted, and exit."""
        self.authOutput.write(f"mailkit {__version__}, Twisted {twisted_version}\n")
        raise SystemExit(0)

    @override
    def getUsage(self, width: int | None = None) -> str:
        text = super().getUsage(width)
        shown = self.examples and not self._refused
        return f"{text}\nExamples:\n{self.examples}" if shown else text

    # After all options are known.

    @override
    def postOptions(self) -> None:
        if not any(self.endpoints.values()) and not self.works_alone:
            options = " ".join(f"--{option}" for option in self.endpoint_options.values())
            raise usage.UsageError(
                f"nothing to serve: give at least one of {options}, for example"
                f" --{next(iter(self.endpoint_options.values()))} tcp:2525:interface=127.0.0.1"
            )
        if self["store"] is None:
            self["store"] = default_store()
        if os.getcwd() not in sys.path:
            # So that a backend's dotted name may be that of a module lying here.
            sys.path.append(os.getcwd())
        for name, read in self._settings():
            with self.naming(name):
                read()
        self._read_relay()
        secured = [name for name in IMPLICIT_TLS if self.endpoints.get(name)]
        if self.get(ftp_settings.PROTECT):
            secured.append(ftp_settings.PROTECT)
        if secured and not self.service_tls:
            raise usage.UsageError(
                f"{self.place(secured[0])} needs a certificate: give --tls CERT,KEY"
            )
        self.limits = self._limits()
        self.logins = self._logins()
        with self.naming("workers"):
            self._read_workers()

    def _settings(self) -> _Settings:
        """Each setting's name, and what reads it, or only raises SettingError if it cannot be."""
        yield from self._each(parse_sharing, (OTHER_USERS,))
        yield from self._each(parse_sharing, (SHARED,), (OTHER_USERS,))
        yield "store", lambda: parse_store(self["store"], parse_sharing(self))
        yield (
            "client-certificates",
            lambda: parse_client_certificates(self.tables["client-certificates"]),
        )
        yield "gssapi", lambda: parse_gssapi(self.tables["gssapi"])
        yield "login-guard", lambda: parse_login_guard(self.tables["login-guard"])
        yield (
            "proxy-from",
            lambda: parse_networks(self.lists["proxy-from"], self.scopes(self.endpoints)),
        )
        yield "anonymous", lambda: parse_guests(self.lists["anonymous"])
        if self.get("hostname") is not None:
            yield "hostname", lambda: check_hostname(self["hostname"])
        yield "tls", self._read_tls
        if self.lists["client-ca"]:
            yield "client-ca", lambda: self._read_tls(*self.lists["client-ca"])
        if required := self.lists["require-client-certificate"]:
            name = "require-client-certificate"
            yield name, lambda: self._read_tls(*self.lists["client-ca"], required=required)
        yield from self._settings_of_readers()
        yield from self._settings_of_listeners()
        yield from self._settings_of_delivery()

    def _settings_of_readers(self) -> _Settings:
        """Those of IMAP, POP3 and FTP."""
        if self.lists["without-capability"]:
            yield "without-capability", lambda: parse_capabilities(self.lists["without-capability"])
        if self.lists["imap-quirk"]:
            yield "imap-quirk", lambda: parse_quirks(self.lists["imap-quirk"])
        if self.tables["imap-clients"]:
            yield "imap-clients", lambda: parse_clients(self.tables["imap-clients"])
        yield from self._each(parse_imap_settings, imap_settings.JUDGED)
        yield from self._each(parse_pop3_settings, pop3_settings.JUDGED)
        yield from self._each(parse_ftp_settings, ftp_settings.JUDGED)

    def _each(
        self,
        parse: Callable[[Mapping[str, Any]], object],
        names: Iterable[str],
        others: Iterable[str] = (),
    ) -> _Settings:
        """Those of several options that one function reads, one by one, so that an error names it.

        :param others: options that may matter to each of them.
        """
        for name in names:
            if self.get(name) is not None:
                yield name, partial(parse, {each: self.get(each) for each in (name, *others)})

    def _settings_of_listeners(self) -> _Settings:
        """Those of SMTP, LMTP and submission."""
        names = self.scopes()
        if self.lists["without-extension"]:
            yield (
                "without-extension",
                partial(parse_switches, self.lists["without-extension"], names),
            )
        yield "smtp-limits", lambda: parse_smtp_limits(self.tables["smtp-limits"], names)
        for name, parse in (
            *(("vrfy", parse_access), ("expn", parse_access)),
            ("no-soliciting", parse_solicitation),
        ):
            if self.get(name) is not None:
                yield name, partial(parse, self[name])
        yield "bare-line-ends", lambda: parse_bare_line_ends(self.lists["bare-line-ends"], names)
        yield (
            "smtp-extensions",
            lambda: parse_extension_table(self.tables["smtp-extensions"], names),
        )
        yield "xclient-from", lambda: parse_names(self.lists["xclient-from"], names)
        yield "hook", lambda: parse_hooks(self.lists["hook"], names)
        yield "hook-failure", lambda: parse_hook_settings(self.get("hook-failure"))
        yield "hook-settings", self._read_hook_settings
        if (
            self.lists["milter"]
            or self.lists["milter-reuse"]
            or self.tables["milter-settings"]
            or self.get("milter-failure")
        ):
            milters = partial(parse_milters, self.lists["milter"], services=names)
            yield "milter", milters
            yield "milter-reuse", lambda: milters(reuse=self.lists["milter-reuse"])
            yield "milter-failure", lambda: milters(self["milter-failure"])
            yield "milter-settings", lambda: milters(table=self.tables["milter-settings"])
        yield "checks", lambda: Checks(self.tables["checks"], names)

    def _settings_of_delivery(self) -> _Settings:
        """Those of what becomes of mail that was taken."""
        if self.get("route-secret") is not None:
            yield "route-secret", self._read_route_secret
        yield "route", lambda: parse_routes(split_routes(self.lists["route"]), self.route_secret)
        if self.get("suppress-duplicates") is not None:
            yield "suppress-duplicates", lambda: parse_count(str(self["suppress-duplicates"]))

    def _read_tls(self, *client_ca: str, required: Sequence[str] = ()) -> None:
        services = self.scopes(PORT_NAMES)
        self.service_tls = ServiceTLS(self.lists["tls"], services, client_ca, required)

    def _read_hook_settings(self) -> None:
        trace = not self.get("no-hook-trace")
        failure = self.get("hook-failure")
        self.hook_settings = parse_hook_settings(failure, trace, self.tables["hook-settings"])

    def _read_route_secret(self) -> None:
        self.route_secret = read_secret(self["route-secret"])

    def _read_workers(self) -> None:
        if self["workers"] is not None:
            self.workers = parse_count(str(self["workers"]))
            if self.workers > 1:
                self._refuse_chroot()
                places = [place for *_, place in self.list_endpoints()]
                check_workers(self.workers, self["store"], places)

    def _read_relay(self) -> None:
        target, login = self.get("relay"), self.get("relay-login")
        if target is None:
            for setting, made in (
                ("relay-login", login is not None),
                ("relay-process", self.get("relay-process")),
                ("queue", self.tables["queue"]),
                ("relay-route", self.lists["relay-route"]),
                ("relay-from", self.lists["relay-from"]),
            ):
                if made:
                    raise usage.UsageError(f"{self.place(setting)}: needs --relay")
            return
        from mailkit.tap.outbound import Outbound

        credentials = None
        if login is not None:
            with self.naming("relay-login"):
                credentials = read_login(login)
        target = relay_target(target)
        relay = Relay(target)
        with self.naming("relay"):
            Outbound(relay, "localhost", None)
        with self.naming("queue"):
            Outbound(relay._replace(table=self.tables["queue"]), "localhost", None)
        with self.naming("relay-route"):
            Outbound(relay._replace(routes=self.lists["relay-route"]), "localhost", None)
        with self.naming("relay-from"):
            Outbound(relay._replace(trusted=self.lists["relay-from"]), "localhost", None)
        self.relay = Relay(
            target,
            credentials,
            self.tables["queue"],
            self.lists["relay-route"],
            self.lists["relay-from"],
            bool(self.get("relay-process")),
        )
        with self.naming("relay-process"):
            check_process(self.relay, self["store"])
            if self.relay.apart:
                self._refuse_chroot()
        with self.naming("relay-login"):
            Outbound(self.relay, "localhost", None)

    def _refuse_chroot(self) -> None:
        """:raises SettingError: twistd goes where no other process can be started."""
        if self.parent is not None and self.parent.get("chroot"):
            raise SettingError("not with --chroot, inside of which no Python can be started")

    def send_alone(self) -> None:
        """Be what a process has that only sends what is queued: no ports."""
        assert self.relay is not None
        self.relay = self.relay._replace(apart=False)
        self.endpoints = {}

    def _limits(self) -> Limits:
        values: dict[str, Any] = {}
        for option, parse in _LIMITS.items():
            if self.get(option) is not None:
                with self.naming(option):
                    values[option.replace("-", "_")] = parse(str(self[option]))
        return Limits(**values)

    def _logins(self) -> LoginSettings:
        values: dict[str, Any] = {}
        if self.get("master-separator") is not None:
            with self.naming("master-separator"):
                values["master_separator"] = parse_separator(str(self["master-separator"]))
        if self.get("mechanisms") is not None:
            with self.naming("mechanisms"):
                values["mechanisms"] = parse_mechanisms(str(self["mechanisms"]))
        return LoginSettings(
            checkers=self.auth_rules,
            store_accounts=self.store_accounts,
            create_accounts=not self["no-create-accounts"],
            allow_plaintext_passwords=bool(self.get("allow-plaintext-passwords")),
            guard=parse_login_guard(self.tables["login-guard"]),
            certificates=parse_client_certificates(self.tables["client-certificates"]),
            kerberos=parse_gssapi(self.tables["gssapi"]),
            anonymous=self.lists["anonymous"],
            **values,
        )


class ListenOptions(MailOptions):
    """Settings of a command that serves one protocol; its first endpoint option is --listen."""

    def opt_listen(self, endpoint: str) -> None:
        """Listen at this ENDPOINT, such as tcp:2525:interface=127.0.0.1; may be repeated."""
        self.add_endpoint(next(iter(self.endpoint_options)), endpoint)
