"""What an IMAP client is offered, and what of it the client has switched on (RFC 3501, RFC 5161)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mailkit._typing import override
from mailkit.imap import render
from mailkit.imap.clients import ClientRule, find_rule
from mailkit.imap.handlers.registry import capability_list, offered, switched_on
from mailkit.imap.handlers.table import Facts, Verb, facts_of
from mailkit.imap.pushing import PushingConnection
from mailkit.imap.state import State
from mailkit.interfaces import ICapabilityMask, IMailAccount

if TYPE_CHECKING:
    from mailkit.imap.protocol import IMAPFactory

# One for all connections: frozenset() makes another one each time.
_NOTHING: frozenset[bytes] = frozenset()


class OfferingConnection(PushingConnection):
    """Knows which capabilities and commands there are for its client now.

    :ivar state: what RFC 3501 section 3 calls the state.
    :ivar account: the account that is logged in.
    :ivar enabled: extensions that the client has switched on (RFC 5161).
    :ivar extensions: names of the capabilities that are switched on for this client.
    :ivar verbs: its commands.
    :ivar quirks: what is done for clients that get something wrong.
    :ivar known: what decides what is offered to it, once its login has settled that.
    :ivar client: what the operator's settings say about the client's program.
    """

    __slots__ = (
        "account",
        "client",
        "enabled",
        "extensions",
        "known",
        "quirks",
        "state",
        "verbs",
    )

    factory: IMAPFactory

    def __init__(self) -> None:
        PushingConnection.__init__(self)
        self.state = State.NOT_AUTHENTICATED
        self.account: IMailAccount | None = None
        self.enabled = self.extensions = _NOTHING
        self.verbs: Mapping[bytes, Verb] = {}
        self.known: Facts | None = None
        self.client: ClientRule | None = None
        self.quirks: frozenset[str] = frozenset()

    def capabilities(self) -> bytes:
        """What the server can do for this client now."""
        return capability_list(facts_of(self), self.extensions)

    @property
    def offered(self) -> frozenset[bytes]:
        """Names of the capabilities that this client is offered now."""
        return offered(facts_of(self), self.extensions)

    def offers(self, name: bytes) -> bool:
        """Whether this client is offered a capability now."""
        return name in offered(self.known or facts_of(self), self.extensions)

    @property
    @override
    def refers(self) -> bool:
        """Referrals are offered to this client now (RFC 2221, RFC 2193)."""
        before = self.state is State.NOT_AUTHENTICATED
        return self.offers(b"LOGIN-REFERRALS" if before else b"MAILBOX-REFERRALS")

    def usable_extensions(self) -> frozenset[bytes]:
        """Those whose arguments this client may use: QRESYNC must have been enabled."""
        extensions = self.extensions
        return extensions if b"QRESYNC" in self.enabled else extensions - {b"QRESYNC"}

    def enable(self, *names: bytes) -> None:
        """The client has switched extensions on (RFC 5161)."""
        self.enabled = self.enabled.union(names)

    def enable_condstore(self) -> None:
        """The client has shown that it knows modification sequences (RFC 7162 section 3.1)."""
        if b"CONDSTORE" in self.enabled:
            return
        self.enable(b"CONDSTORE")
        selection = self.selection
        if selection is not None:
            selection.tells_modseqs = True
            self.remark(selection.highest_modseq())

    def enable_qresync(self) -> None:
        """From now on VANISHED is sent in place of EXPUNGE (RFC 7162 section 3.2.3)."""
        self.enable_condstore()
        self.enable(b"QRESYNC")
        if self.selection is not None:
            self.selection.tells_vanished = True

    @property
    def rev2(self) -> bool:
        """The client speaks IMAP4rev2."""
        return b"IMAP4rev2" in self.enabled

    @property
    def utf8(self) -> bool:
        """Names of mailboxes are UTF-8 both ways (RFC 9051 section 5.1, RFC 6855 section 3)."""
        return not render.UTF8_NAMES.isdisjoint(self.enabled)

    def mailbox_name(self, name: str) -> bytes:
        """The name of a mailbox for a response to this client."""
        return render.mailbox(name, self.utf8)

    def disable_all(self) -> None:
        """The client has switched nothing on any more (RFC 8437 section 4.1)."""
        self.enabled = _NOTHING

    def identified(self, fields: Mapping[str, str]) -> None:
        """The client has told which program it is (RFC 2971)."""
        self.client = find_rule(self.factory.clients, fields)
        self.adapt()

    def adapt(self) -> None:
        """Leave out what this account and this client are not to have."""
        self.known = None
        without = self.factory.without
        account = self.account
        if account is not None and ICapabilityMask.providedBy(account) and account.imap_without:
            without = without.union(account.imap_without)
        self.quirks = self.factory.quirks
        if self.client is not None:
            without |= self.client.without
            self.quirks = self.client.quirks
        self.extensions, self.verbs = switched_on(without)
