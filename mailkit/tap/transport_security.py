"""The settings of ``[queue]`` that say how secure the connections to other servers are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mailkit.interfaces import IDNSResolver, IKeyValueStore
from mailkit.queue.security import DestinationSecurity
from mailkit.queue.tls_results import TLSSession
from mailkit.smtp.client import TLSMode
from mailkit.tap.errors import SettingError
from mailkit.wire.domains import canonical_domain, is_dns_name

#: Keys of ``[queue]``, each with the kind of its value.
KEYS: Mapping[str, type] = {
    "validating": bool,
    "dane": bool,
    "mta-sts": bool,
    "tls-domains": dict,
    "tls-reports": str,
}
_MODES = {mode.value: mode for mode in TLSMode if mode is not TLSMode.PINNED}
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}")


@dataclass(frozen=True)
class SecuritySettings:
    """How connections are secured, besides the mode for all.

    :param validating: whether the name servers are believed about DNSSEC; None for those on this
        machine only.
    :param domains: modes by domain.
    :param reports: the address that TLS reports come from; none are sent when empty.
    """

    validating: bool | None = None
    dane: bool = True
    mta_sts: bool = True
    domains: Mapping[str, TLSMode] = field(default_factory=dict)
    reports: str = ""


def take_security(values: dict[str, Any]) -> SecuritySettings:
    """Take the settings out of the table ``[queue]``.

    :raises SettingError: one makes no sense.
    """
    domains = {
        _domain(key): _mode(key, value) for key, value in values.pop("tls-domains", {}).items()
    }
    settings = SecuritySettings(
        values.pop("validating", None),
        values.pop("dane", True),
        values.pop("mta-sts", True),
        domains,
        values.pop("tls-reports", ""),
    )
    if not settings.dane and TLSMode.DANE in domains.values():
        raise SettingError("tls-domains asks for dane, which is switched off")
    if settings.reports and not _ADDRESS.fullmatch(settings.reports):
        raise SettingError("tls-reports must be an address that reports come from")
    return settings


def _domain(text: str) -> str:
    name = canonical_domain(text)
    if not is_dns_name(name.removeprefix(".")):
        raise SettingError(
            f"tls-domains: {text!r} is no domain such as example.org or .example.org"
        )
    return name


def _mode(domain: str, value: Any) -> TLSMode:
    if not isinstance(value, str) or value not in _MODES:
        raise SettingError(f"tls-domains: {domain} must be one of {', '.join(_MODES)}")
    return _MODES[value]


class TransportSecurity:
    """What decides about connections, counts them and reports, while a service runs.

    :param store: remembers policies and counts; if it cannot, they are forgotten at the end.
    :param submit: queues a message.
    """

    def __init__(
        self,
        settings: SecuritySettings,
        resolver: IDNSResolver,
        store: object,
        submit: Callable[..., Any],
        reactor: Any,
    ) -> None:
        values: Any = store
        if not IKeyValueStore.providedBy(store):
            from mailkit.checks.greylist import MemoryValues

            values = MemoryValues(clock=reactor)
        #: Is told of each connection; None where nothing is reported.
        self.results: Callable[[TLSSession], None] | None = None
        self._reporting: Any = None
        policies: Any = None
        if settings.mta_sts or settings.reports:
            # twisted.web takes a while to load.
            from mailkit.https import HTTPSClient

            client = HTTPSClient(resolver, reactor)
        if settings.reports:
            from mailkit.queue.tls_reporting import TLSReporting
            from mailkit.queue.tls_results import TLSResults

            results = TLSResults(resolver, values, reactor)
            self.results = results.note
            self._reporting = TLSReporting(results, settings.reports, submit, client, reactor)
        if settings.mta_sts:
            from mailkit.queue.sts import STSPolicies
            from mailkit.queue.sts_fetch import HTTPSFetcher

            failed = self._policy_failed
            policies = STSPolicies(resolver, HTTPSFetcher(client), values, reactor, failed)
        asking = resolver if settings.dane else None
        #: Decides.
        self.decisions = DestinationSecurity(asking, policies=policies, domains=settings.domains)

    def _policy_failed(self, domain: str, error: Any) -> None:
        if self.results is not None:
            from mailkit.queue.tls_results import failed_policy

            self.results(failed_policy(domain, error))

    def start(self) -> None:
        """Begin to report."""
        if self._reporting is not None:
            self._reporting.start()

    async def stop(self) -> None:
        """Keep what was counted."""
        if self._reporting is not None:
            await self._reporting.stop()
