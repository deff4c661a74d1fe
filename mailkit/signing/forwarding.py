"""What aliases send on to other servers, for people whom we don't know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from mailkit._typing import override
from mailkit.copies import changed
from mailkit.dns.lookups import find_texts
from mailkit.errors import DNSFailure
from mailkit.interfaces import IDNSResolver
from mailkit.model import Envelope, Path
from mailkit.queue.transport import Result, Still, Transport, WrappingTransport
from mailkit.signing.arc import Record, Sealer, key_names
from mailkit.signing.body import settle
from mailkit.signing.dkim import Unsignable, read_header
from mailkit.signing.keys import Algorithm, KeyRing
from mailkit.signing.library import MissingLibrary
from mailkit.signing.srs import SRS
from mailkit.signing.transport import Prepared, Run, is_ours, work_on


@dataclass(frozen=True)
class Sealing:
    """What ARC sets are made with.

    :param domain: whose keys seal, or those of a domain above it.
    :param service: our name (authserv-id, RFC 8601 section 2.5).
    :param resolver: asks for the keys of others.
    :param seconds: tells the time since the epoch.
    :param run: calls a function in a thread.
    """

    ring: KeyRing
    domain: str
    service: str
    resolver: IDNSResolver
    seconds: Callable[[], float]
    run: Run

    def find_sealer(self) -> Sealer | None:
        """What seals now; None without a key that can."""
        for key in self.ring.find(self.domain):
            if key.algorithm is Algorithm.RSA:
                return Sealer(key, self.service, self.seconds)
        return None


class ForwardingTransport(WrappingTransport):
    """Seals messages that are sent on, and gives them a reverse-path of ours.

    At each attempt, and not before, so that the queue shows whose message it is. Our own messages
    pass as they are.

    :param transport: sends them.
    :param sealing: None to seal nothing.
    :param srs: None to leave reverse-paths as they are.
    :param is_own: whether a domain is one of ours, for which we may send.
    """

    log = Logger()

    def __init__(
        self,
        transport: Transport,
        *,
        sealing: Sealing | None = None,
        srs: SRS | None = None,
        is_own: Callable[[str], Awaitable[bool]],
    ) -> None:
        super().__init__(transport)
        self._sealing = sealing
        self._srs = srs
        self._is_own = is_own

    @override
    async def send(
        self, domain: str, envelope: Envelope, content: BinaryIO, still: Still | None = None
    ) -> Result:
        if is_ours(envelope):
            return await self.transport.send(domain, envelope, content, still)
        path = await self._new_path(envelope.reverse_path)
        if path is not envelope.reverse_path:
            envelope = changed(envelope, reverse_path=path)
        prepared = Prepared(envelope, content)
        try:
            if self._sealing is not None:
                await self._seal(prepared, self._sealing)
            prepared.content.seek(0)
            return await self.transport.send(domain, prepared.envelope, prepared.content, still)
        finally:
            prepared.close()

    async def _new_path(self, path: Path) -> Path:
        if self._srs is None or path.is_null or await self._is_own(path.domain):
            return path
        return self._srs.wrap(path)

    async def _seal(self, prepared: Prepared, sealing: Sealing) -> None:
        sealer = sealing.find_sealer()
        if sealer is None:
            return

        def look() -> Sequence[str]:
            # Nothing is encoded: that would break the author's own signature.
            spool = settle(prepared.content, seven_bit=False)
            if spool is not None:
                prepared.replace(spool)
            return key_names(read_header(prepared.content))

        try:
            names = await work_on(prepared, sealing.run, look)
            records = await _ask(sealing.resolver, names)
            fields = await work_on(
                prepared, sealing.run, lambda: sealer.seal(prepared.content, records)
            )
        except (Unsignable, MissingLibrary) as error:
            self.log.warn(
                "message {id} is sent on without an ARC set: {error}",
                id=prepared.envelope.transaction_id,
                error=str(error),
            )
        else:
            prepared.prepend(fields)


async def _ask(resolver: IDNSResolver, names: Sequence[str]) -> Mapping[str, Record]:
    """What stands at the names of keys."""

    async def ask(name: str) -> Record:
        try:
            texts = await find_texts(resolver, name)
        except DNSFailure:
            return Record(None, failed=True)
        return Record(texts[0] if texts else None)

    found = await gatherResults([Deferred.fromCoroutine(ask(name)) for name in names])
    return dict(zip(names, found, strict=True))
