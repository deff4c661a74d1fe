"""The settings of ``[queue]`` that say how secure the connections to other servers are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mailkit.interfaces import IDNSResolver, IKeyValueStore
from mailkit.queue.security import DestinationSecurity
from mailkit.smtp.client import TLSMode
from mailkit.tap.errors import SettingError
from mailkit.wire.domains import canonical_domain, is_dns_name

#: Keys of ``[queue]``, each with the kind of its value.
KEYS: Mapping[str, type] = {
    "validating": bool,
    "dane": bool,
    "mta-sts": bool,
    "tls-domains": dict,
}
_MODES = {mode.value: mode for mode in TLSMode if mode is not TLSMode.PINNED}


@dataclass(frozen=True)
class SecuritySettings:
    """How connections are secured, besides the mode for all.

    :param validating: whether the name servers are believed about DNSSEC; None for those on this
        machine only.
    :param domains: modes by domain.
    """

    validating: bool | None = None
    dane: bool = True
    mta_sts: bool = True
    domains: Mapping[str, TLSMode] = field(default_factory=dict)

    def make(self, resolver: IDNSResolver, store: object, reactor: Any) -> DestinationSecurity:
        """What decides.

        :param store: remembers policies, if it can.
        """
        policies = None
        if self.mta_sts:
            # twisted.web takes a while to load.
            from mailkit.queue.sts import STSPolicies
            from mailkit.queue.sts_fetch import HTTPSFetcher

            values: Any = store if IKeyValueStore.providedBy(store) else None
            fetcher = HTTPSFetcher(resolver, reactor)
            policies = STSPolicies(resolver, fetcher, values, reactor)
        asking = resolver if self.dane else None
        return DestinationSecurity(asking, policies=policies, domains=self.domains)


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
    )
    if not settings.dane and TLSMode.DANE in domains.values():
        raise SettingError("tls-domains asks for dane, which is switched off")
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
