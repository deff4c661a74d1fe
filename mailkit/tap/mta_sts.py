"""``twistd mailkit-mta-sts``: a web server for the site's own MTA-STS policy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from twisted.application.service import MultiService
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python import usage

from mailkit._typing import override
from mailkit.queue.sts import MAX_AGE, STSMode, STSPolicy
from mailkit.tap.errors import SettingError
from mailkit.tap.ports import ListenPort, parse_endpoint
from mailkit.tap.strict_options import StrictOptions
from mailkit.tap.tls import parse_tls, server_context
from mailkit.tls import ServerTLS, TLSReloader
from mailkit.wire.domains import canonical_domain, is_dns_name

#: Connections at a time.
MAX_CONNECTIONS = 500
#: Seconds for which others remember the policy: a week.
DEFAULT_MAX_AGE = 604_800


class Options(StrictOptions):
    """Settings of the policy and its server."""

    optParameters: ClassVar[list[list[Any]]] = [
        [
            "tls",
            None,
            None,
            "Certificate and key for mta-sts.DOMAIN: CERT,KEY [default: plain HTTP]",
        ],
        ["mode", None, "testing", "What others do when TLS fails: enforce, testing or none"],
        ["max-age", None, str(DEFAULT_MAX_AGE), "Seconds for which others remember the policy"],
    ]
    longdesc = (
        "Serves the MTA-STS policy (RFC 8461) of one or several domains, which tells other servers that"
        " mail for them must come by TLS. Without --tls it speaks plain HTTP, for a web server in"
        " front of it that has the certificate. What must stand in DNS is printed at the start."
    )

    def __init__(self) -> None:
        super().__init__()
        self.listen: list[str] = []
        self.domains: list[str] = []
        self.exchangers: list[str] = []
        self.policy = STSPolicy(STSMode.TESTING, (), DEFAULT_MAX_AGE)
        self.tls_context: ServerTLS | None = None

    def opt_listen(self, endpoint: str) -> None:
        """Listen at this ENDPOINT, such as tcp:443; may be repeated."""
        with _naming("listen"):
            parse_endpoint(endpoint)
        self.listen.append(endpoint)

    def opt_domain(self, domain: str) -> None:
        """A DOMAIN that has the policy; may be repeated."""
        name = canonical_domain(domain)
        if not is_dns_name(name):
            raise usage.UsageError(f"--domain: {domain!r} is no domain such as example.org")
        self.domains.append(name)

    def opt_mx(self, name: str) -> None:
        """The NAME of a server that takes the domains' mail, *.example.org for all of that kind;
        may be repeated."""
        self.exchangers.append(canonical_domain(name))

    @override
    def postOptions(self) -> None:
        from mailkit.queue.sts_site import policy_text

        for name, values in (("listen", self.listen), ("domain", self.domains)):
            if not values:
                raise usage.UsageError(f"give at least one --{name}")
        if self["mode"] not in {mode.value for mode in STSMode}:
            raise usage.UsageError("--mode must be enforce, testing or none")
        if not self["max-age"].isdecimal() or int(self["max-age"]) > MAX_AGE:
            raise usage.UsageError(f"--max-age must be a number of seconds up to {MAX_AGE}")
        mode, age = STSMode(self["mode"]), int(self["max-age"])
        if not self.exchangers and mode is not STSMode.NONE:
            # RFC 8461 section 3.2
            raise usage.UsageError(f"--mode {mode.value} needs at least one --mx")
        self.policy = STSPolicy(mode, tuple(self.exchangers), age)
        try:
            policy_text(self.policy)
        except ValueError as error:
            raise usage.UsageError(f"--mx: {error}") from error
        if self["tls"] is not None:
            with _naming("tls"):
                self.tls_context = server_context(*parse_tls(self["tls"]))


@contextmanager
def _naming(option: str) -> Iterator[None]:
    try:
        yield
    except SettingError as error:
        raise usage.UsageError(f"--{option}: {error}") from error


class PolicyService(MultiService):
    """The ports; says at the start what must stand in DNS."""

    log = Logger()

    def __init__(self, options: Options) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._options = options
        if options.tls_context is not None:
            TLSReloader([options.tls_context]).setServiceParent(self)  # type: ignore[no-untyped-call]

    @override
    def startService(self) -> None:
        from mailkit.queue.sts_site import dns_records

        super().startService()  # type: ignore[no-untyped-call]
        for domain in self._options.domains:
            for line in dns_records(self._options.policy, domain):
                self.log.info("in DNS: {line}", line=line)


class _Limited(WrappingFactory):
    """Takes only so many connections at a time."""

    noisy = False

    @override
    def buildProtocol(self, addr: Any) -> Any:
        if len(self.protocols) >= MAX_CONNECTIONS:
            return None
        return super().buildProtocol(addr)


def makeService(options: Options) -> PolicyService:
    """What twistd runs."""
    from mailkit.queue.sts_site import PolicySite

    service = PolicyService(options)
    for endpoint in options.listen:
        factory: Any = PolicySite(options.policy, options.domains)
        if options.tls_context is not None:
            factory = TLSMemoryBIOFactory(options.tls_context, False, factory)
        port = ListenPort(endpoint, _Limited(factory))  # type: ignore[no-untyped-call]
        port.setServiceParent(service)  # type: ignore[no-untyped-call]
    return service
