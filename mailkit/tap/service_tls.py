"""The TLS of each service: certificates for all of them, client certificates for those that ask."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mailkit.tap.errors import SettingError
from mailkit.tap.listeners import Scopes
from mailkit.tap.strict_options import StrictOptions
from mailkit.tap.tls import parse_tls
from mailkit.tls import CertificateError, ServerTLS


class ServiceTLS:
    """What each service uses; two that want the same share it.

    :param tls: what ``--tls`` takes, once or several times; or a context factory, which is used as
        it is; None for no TLS.
    :param services: names of services and listeners.
    :param client_ca: what ``--client-ca`` takes.
    :param require_client_certificate: what ``--require-client-certificate`` takes.
    :raises SettingError: a file is no good, or the settings don't fit.
    """

    def __init__(
        self,
        tls: Any,
        services: Scopes,
        client_ca: Iterable[str] = (),
        require_client_certificate: Iterable[str] = (),
    ) -> None:
        authorities = _parse_authorities(client_ca, services)
        required: set[str] = set()
        for name in require_client_certificate:
            if name not in services:
                known = ", ".join(services)
                raise SettingError(f"there is no service {name!r}; known are {known}")
            required.update(services[name])
        for name in sorted(required):
            if name not in authorities:
                raise SettingError(
                    f"{name} needs client-ca: the authorities that sign clients' certificates"
                )
        #: Those that are made of files.
        self.from_files: list[ServerTLS] = []
        self._contexts: dict[str, Any] = {}
        given = [tls] if isinstance(tls, str) else tls
        if isinstance(given, (list, tuple)) and given:
            self._make([parse_tls(text) for text in given], services, authorities, required)
        elif authorities:
            raise SettingError(
                "to ask for clients' certificates needs tls: our own one and its key, in files"
            )
        elif given:
            self._contexts = dict.fromkeys(services, given)

    def _make(
        self,
        certificates: list[Any],
        services: Iterable[str],
        authorities: dict[str, str],
        required: set[str],
    ) -> None:
        made: dict[tuple[str | None, bool], ServerTLS] = {}
        for name in services:
            wish = authorities.get(name), name in required
            if wish not in made:
                try:
                    made[wish] = ServerTLS(
                        certificates, client_ca=wish[0], require_client_certificate=wish[1]
                    )
                except CertificateError as error:
                    raise SettingError(str(error)) from error
            self._contexts[name] = made[wish]
        self.from_files = list(made.values())

    def __bool__(self) -> bool:
        return bool(self._contexts)

    @property
    def asks_for_certificates(self) -> bool:
        """Clients of some service are asked for a certificate."""
        return any(tls.asks_for_certificates for tls in self.from_files)

    def context(self, service: str) -> Any:
        """A factory's ``tls_context``; None where there is no TLS."""
        return self._contexts.get(service)


def _parse_authorities(texts: Iterable[str], services: Scopes) -> dict[str, str]:
    """Paths by service and listener, from ``[SERVICE:]FILE``."""
    paths: dict[str, str] = {}
    alone: dict[str, str] = {}
    for text in texts:
        service, colon, path = text.partition(":")
        if colon and service in services:
            alone[service] = path
        else:
            paths = dict.fromkeys(services, text)
    if "" in (*paths.values(), *alone.values()):
        raise SettingError("write FILE, or SERVICE:FILE for one service")
    for name in services:
        # Services come before their listeners.
        if name in alone:
            paths |= dict.fromkeys(services[name], alone[name])
    return paths


class TLSOptions(StrictOptions):
    """Certificates of a server, and of its clients."""

    list_settings = ["client-ca", "require-client-certificate"]

    def opt_tls(self, files: str) -> None:
        """Certificate and key for TLS: CERT,KEY, two files in PEM format. May be repeated: clients
        get the certificate for the name that they ask for (SNI), others the first one."""
        self.lists["tls"].append(files)

    def opt_client_ca(self, file: str) -> None:
        """Ask clients for a certificate of an authority in this FILE (PEM); for one service with
        SERVICE:FILE. May be repeated."""
        self.lists["client-ca"].append(file)

    def opt_require_client_certificate(self, service: str) -> None:
        """Refuse TLS to clients of this SERVICE that have no such certificate; may be repeated."""
        self.lists["require-client-certificate"].append(service)


def read_certificates(value: Any) -> list[str]:
    """What ``--tls`` takes, from the ``tls`` of a settings file: ``"CERT,KEY"``, a list of such texts,
    ``[CERT, KEY]``, or tables ``[[tls]]`` with ``certificate`` and ``key``.

    :raises SettingError: it is none of these.
    """
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value:
        if all(isinstance(item, str) for item in value):
            return value if all("," in item for item in value) else [",".join(value)]
        if all(isinstance(item, dict) for item in value):
            return [_read_table(item) for item in value]
    raise SettingError('tls must be "CERT,KEY", or tables [[tls]] with certificate and key')


def _read_table(table: dict[str, Any]) -> str:
    names = ("certificate", "key")
    unknown = table.keys() - set(names)
    if unknown:
        raise SettingError(f"unknown key {min(unknown)!r}; known are certificate, key")
    paths = [table.get(name) for name in names if name in table]
    if "certificate" not in table or not all(isinstance(p, str) and "," not in p for p in paths):
        raise SettingError("certificate and key must be paths without commas")
    return ",".join(str(path) for path in paths)
