"""``[queue.dkim]`` and ``[queue.srs]``: what is added to mail that leaves."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from twisted.logger import Logger

from mailkit.interfaces import IDNSResolver
from mailkit.queue.transport import Transport
from mailkit.signing.dkim import Canonicalization, DKIMSigner
from mailkit.signing.forwarding import ForwardingTransport, Sealing
from mailkit.signing.keys import KeyDirectory, KeyRing, SigningKey, SigningKeyError, read_key
from mailkit.signing.library import MissingLibrary, load_dkim
from mailkit.signing.memory import SignatureMemory
from mailkit.signing.srs import HASH_LENGTH, MAX_DAYS, SRS
from mailkit.signing.transport import SigningThreads, SigningTransport
from mailkit.tap.errors import SettingError, StartError
from mailkit.tap.values import KIND_NAMES
from mailkit.wire.domains import canonical_domain, is_dns_name

#: Octets of a file with secrets.
MAX_SECRETS = 4096

#: Keys of ``[queue]`` that are read here.
KEYS: Mapping[str, type] = {"dkim": dict, "srs": dict}
#: Keys of the tables, each with the kind of its value.
_DKIM: Mapping[str, type] = {
    "sign": bool,
    "canonicalization": str,
    "seven-bit": bool,
    "keys": list,
    "seal": bool,
    "seal-domain": str,
}
_SRS: Mapping[str, type] = {"domain": str, "secret-file": str, "hash-length": int, "days": int}


def key_directory(store: str) -> str:
    """Where keys are kept in the directory of a store."""
    return os.path.join(store, "dkim")


class Signing:
    """The settings, and what they make of a transport while the service runs.

    :param values: the table ``[queue]``, out of which ours are taken.
    :param hostname: our name, in what we say of messages.
    :raises SettingError: a setting is not known or makes no sense, or a key cannot be read.
    """

    log = Logger()

    def __init__(self, values: dict[str, Any], hostname: str, reactor: Any) -> None:
        self._hostname = hostname
        self._reactor = reactor
        dkim = read_values(values.pop("dkim", {}), _DKIM, "dkim")
        self._wanted: bool = dkim.get("sign", True)
        self._seven_bit: bool = dkim.get("seven-bit", True)
        self._seal: bool = dkim.get("seal", True)
        self._seal_domain: str = dkim.get("seal-domain", hostname)
        try:
            self._canonicalization = Canonicalization.parse(
                dkim.get("canonicalization", "relaxed/relaxed")
            )
        except ValueError as error:
            raise SettingError(f"dkim: canonicalization: {error}") from error
        self._named = [_read_named(each) for each in dkim.get("keys", ())]
        self._srs = read_values(values.pop("srs", {}), _SRS, "srs")
        if self._srs:
            # Whatever is wrong with them is told now.
            self._make_srs([b"x"])
        self._threads: SigningThreads | None = None
        self._memory = SignatureMemory(time.time if reactor is None else reactor.seconds)

    # Messages that leave.

    def wrap(
        self,
        transport: Transport,
        store: Any,
        srs: SRS | None,
        resolver: IDNSResolver,
        is_local: Callable[[str], Awaitable[bool]],
    ) -> Transport:
        """A transport that signs and seals what another one sends; several may be wrapped.

        :param store: its directory may have keys.
        :param is_local: whether a domain is one of the store.
        :raises StartError: a key cannot be read, or the library is missing.
        """
        ring = self._open_ring(store) if self._wanted or self._seal else KeyRing()
        seconds = self._reactor.seconds
        if self._threads is None:
            self._threads = SigningThreads(self._reactor)
        run = self._threads.run
        if self._wanted:
            signer = DKIMSigner(seconds, self._canonicalization)
            transport = SigningTransport(
                transport, ring, signer, run, seven_bit=self._seven_bit, memory=self._memory
            )
        sealing = None
        if self._seal:
            sealing = Sealing(ring, self._seal_domain, self._hostname, resolver, seconds, run)
        if sealing is not None or srs is not None:
            signs = ring if self._wanted else KeyRing()

            async def is_own(domain: str) -> bool:
                # Who signs for a domain sends for it, so that its SPF record knows us. RFC 7208
                # section 4.4: that record says nothing of the domains below it.
                name = canonical_domain(domain)
                signed = any(key.domain == name for key in signs.find(name))
                return signed or await is_local(domain)

            transport = ForwardingTransport(transport, sealing=sealing, srs=srs, is_own=is_own)
        return transport

    def _open_ring(self, store: Any) -> KeyRing:
        path = _store_path(store, "dkim")
        directory = None if path is None else KeyDirectory(path)
        ring = KeyRing(directory, self._named, self._complain)
        try:
            if ring.load():
                load_dkim()
        except (SigningKeyError, MissingLibrary) as error:
            raise StartError("dkim", path or "keys", str(error)) from error
        return ring

    def _complain(self, text: str) -> None:
        self.log.error("the keys that sign mail stay as they were: {text}", text=text)

    def close(self) -> None:
        """End the threads."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.close()

    # Reverse-paths.

    def open_srs(self, store: Any) -> SRS | None:
        """What rewrites reverse-paths, if that is wanted.

        :param store: its directory keeps the secret where no file is named.
        :raises StartError: there is no secret, and no place for one.
        """
        if not self._srs:
            return None
        path = self._srs.get("secret-file") or _store_path(store, "srs", "secrets")
        if path is None:
            raise StartError("srs", self._srs["domain"], "this store has no place for a secret")
        try:
            if "secret-file" not in self._srs:
                _make_secret(path)
            with open(path, "rb") as file:
                found = [line.strip() for line in file.read(MAX_SECRETS).splitlines()]
            return self._make_srs([secret for secret in found if secret])
        except OSError as error:
            raise StartError("srs", path, error.strerror or str(error)) from error
        except SettingError as error:
            raise StartError("srs", path, str(error)) from error

    def _make_srs(self, found: Sequence[bytes]) -> SRS:
        domain = canonical_domain(self._srs.get("domain", ""))
        if not domain or not is_dns_name(domain):
            raise SettingError("srs needs a domain of yours, such as example.org")
        seconds = (lambda: 0.0) if self._reactor is None else self._reactor.seconds
        try:
            return SRS(
                domain,
                found,
                seconds,
                hash_length=self._srs.get("hash-length", HASH_LENGTH),
                max_days=self._srs.get("days", MAX_DAYS),
            )
        except ValueError as error:
            raise SettingError(f"srs: {error}") from error


def _store_path(store: Any, *names: str) -> str | None:
    """A place in the directory of a store that has one."""
    directory = getattr(store, "directory", None)
    return os.path.join(directory, *names) if isinstance(directory, str) else None


def _make_secret(path: str) -> None:
    """Make a file with a secret unless there is one."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    if os.path.exists(path):
        return
    temporary = f"{path}.new"
    with open(temporary, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(secrets.token_urlsafe(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _read_named(value: Any) -> SigningKey:
    """A key of ``keys``: DOMAIN:SELECTOR:FILE."""
    parts: Sequence[str] = value.split(":", 2) if isinstance(value, str) else ()
    if len(parts) != 3 or not all(parts):
        raise SettingError(
            "dkim: keys must be strings such as example.org:SELECTOR:/etc/mail/key.pem"
        )
    try:
        return read_key(*parts)
    except SigningKeyError as error:
        raise SettingError(f"dkim: keys: {error}") from error


def read_values(table: Any, keys: Mapping[str, type], name: str) -> dict[str, Any]:
    """The settings of a table, of the right kinds.

    :raises SettingError: one is not known, or of another kind.
    """
    if not isinstance(table, Mapping):
        raise SettingError(f"{name} must be a table")
    values: dict[str, Any] = {}
    for key, value in table.items():
        known = key.replace("_", "-")
        kind = keys.get(known)
        if kind is None:
            raise SettingError(f"{name} has no setting {key!r}; known are {', '.join(keys)}")
        if type(value) is not kind:
            raise SettingError(f"{name}: {key} must be {KIND_NAMES[kind]}")
        values[known] = value
    return values
