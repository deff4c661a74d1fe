"""Signs what a transport hands over, as it hands it over.

A message is signed at each attempt: the signature is made of the octets that leave, whatever became
of the message since, and by the keys of that day. What was signed a short time ago, for another domain
or an earlier attempt, keeps its signature.
Work on octets and arithmetic run in threads of their own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeVar, cast

from twisted.internet.defer import CancelledError
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from mailkit._typing import override
from mailkit.mime.addresses import parse_addresses
from mailkit.model import Envelope
from mailkit.pools import DaemonThreadPool
from mailkit.queue.transport import Result, Still, Transport, WrappingTransport
from mailkit.signing.body import settle
from mailkit.signing.dkim import MAX_SIGNATURES, DKIMSigner, Unsignable, read_header
from mailkit.signing.keys import KeyRing, SigningKey
from mailkit.signing.library import MissingLibrary
from mailkit.signing.memory import Signature, SignatureMemory, digest_of
from mailkit.spool import PrefixedFile, Spool

#: Messages that are signed at the same time.
THREADS = 2
#: Authors of a message that are looked at.
MAX_AUTHORS = 100

_T = TypeVar("_T")


class _PrefixedView(PrefixedFile):
    """Fields before a file that stays its owner's to close."""

    @override
    def close(self) -> None:
        super(PrefixedFile, self).close()


@dataclass
class Prepared:
    """A message as it leaves."""

    envelope: Envelope
    content: BinaryIO
    #: What was made for it.
    made: list[Spool | BinaryIO] = field(default_factory=list)

    def prepend(self, octets: bytes) -> None:
        """Put fields before it."""
        self.content = cast(BinaryIO, _PrefixedView(octets, self.content))

    def replace(self, spool: Spool) -> None:
        """Go on with other content."""
        self.content = spool.open()
        self.made += [self.content, spool]

    def close(self) -> None:
        """Release what was made."""
        for each in self.made:
            each.close()


class SigningThreads:
    """Threads for messages to sign in."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._pool: Any = DaemonThreadPool(0, THREADS, "signing")
        self._started = False

    async def run(self, work: Callable[[], _T]) -> _T:
        """What a function gives that is called in a thread."""
        if not self._started:
            self._started = True
            self._pool.start()
        found: _T = await deferToThreadPool(self._reactor, self._pool, work)
        return found

    def close(self) -> None:
        """End the threads; waits for the message that is being signed."""
        if self._started:
            self._pool.stop()


def is_ours(envelope: Envelope) -> bool:
    """Whether we speak for the message: a user or a trusted client has sent it, or it is a report of
    our own.

    What a stranger has sent and an alias sends on is not: a signature of ours would make true what
    the stranger wrote into From.
    """
    # A trusted client's own reports name no account.
    own = envelope.account is not None or envelope.trusted
    return own or envelope.connection.protocol == "report"


#: Calls a function in a thread.
Run = Callable[[Callable[[], Any]], Awaitable[Any]]


async def work_on(prepared: Prepared, run: Run, work: Callable[[], _T]) -> _T:
    """What a function gives that works on a message in a thread; a failure closes the message."""
    given_up = False

    def whole() -> _T:
        try:
            return work()
        finally:
            if given_up:
                prepared.close()

    try:
        found: _T = await run(whole)
    except CancelledError:
        # The thread is at work still.
        given_up = True
        raise
    except BaseException:
        prepared.close()
        raise
    return found


class SigningTransport(WrappingTransport):
    """Signs the messages of another transport.

    :param transport: sends them.
    :param ring: the keys.
    :param signer: makes the signatures; None to make none.
    :param run: calls a function in a thread.
    :param seven_bit: encode 8-bit parts before signing (RFC 6376 section 5.3).
    :param memory: of signatures, for all with these settings; None to sign each time.
    """

    log = Logger()

    def __init__(
        self,
        transport: Transport,
        ring: KeyRing,
        signer: DKIMSigner,
        run: Run,
        *,
        seven_bit: bool = True,
        memory: SignatureMemory | None = None,
    ) -> None:
        super().__init__(transport)
        self._memory = memory
        self._ring = ring
        self._signer = signer
        self._run = run
        self._seven_bit = seven_bit

    @override
    async def send(
        self, domain: str, envelope: Envelope, content: BinaryIO, still: Still | None = None
    ) -> Result:
        prepared = await self._prepare(envelope, content)
        prepared.content.seek(0)
        try:
            return await self.transport.send(domain, prepared.envelope, prepared.content, still)
        finally:
            prepared.close()

    async def _prepare(self, envelope: Envelope, content: BinaryIO) -> Prepared:
        prepared = Prepared(envelope, content)
        if is_ours(envelope) and self._ring.may_have_keys:
            await work_on(prepared, self._run, lambda: self._sign(prepared))
        return prepared

    def _sign(self, prepared: Prepared) -> None:
        """Sign a message; runs in a thread."""
        envelope = prepared.envelope
        try:
            keys = self._keys(envelope, prepared.content)
            if not keys:
                return
            prepared.prepend(self._fields(prepared, keys))
        except (Unsignable, MissingLibrary) as error:
            self.log.warn(
                "message {id} is sent without a signature: {error}",
                id=envelope.transaction_id,
                error=str(error),
            )

    def _fields(self, prepared: Prepared, keys: Sequence[SigningKey]) -> bytes:
        """The signatures of a message, which is brought into the form that they are for."""
        original = prepared.content

        def make() -> Signature:
            settled = self._settle(prepared)
            return Signature(self._signer.sign(prepared.content, keys), settled)

        if self._memory is None:
            return make().fields
        key = digest_of(original), _is_binary(prepared), tuple(keys)
        found = self._memory.find_or_make(key, make)
        if found.settled and prepared.content is original:
            self._settle(prepared)
        return found.fields

    def _settle(self, prepared: Prepared) -> bool:
        """Bring a message into the form in which it is signed; gives whether that changes it."""
        spool = settle(prepared.content, seven_bit=self._seven_bit, binary=_is_binary(prepared))
        if spool is not None:
            prepared.replace(spool)
        return spool is not None

    def _keys(self, envelope: Envelope, content: BinaryIO) -> Sequence[SigningKey]:
        """The keys of the author's domain, or else of the reverse-path's.

        RFC 7489 section 3.1.1: only a signature of the author's domain counts for DMARC.
        """
        header = read_header(content)
        for name, value in header.fields:
            if name.lower() != b"from":
                continue
            for author in parse_addresses(value, MAX_AUTHORS):
                domain = (author.domain or b"").decode("utf-8", "replace")
                if keys := self._ring.find_signers(domain, MAX_SIGNATURES):
                    return keys
        return self._ring.find_signers(envelope.reverse_path.domain, MAX_SIGNATURES)


def _is_binary(prepared: Prepared) -> bool:
    return prepared.envelope.body == "BINARYMIME"
