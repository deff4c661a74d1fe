"""What clients call themselves."""

from __future__ import annotations

from collections.abc import Sequence

from mailkit._typing import override
from mailkit.checks.base import Action, Finding, FindingCheck, check_actions, shown
from mailkit.checks.networks import parse_address
from mailkit.hooks import MailSession
from mailkit.model import Envelope
from mailkit.wire.domains import canonical_domain


class HeloSanity(FindingCheck):
    """Looks for names that cannot be right.

    RFC 5321 section 4.1.4 forbids to refuse a client because its name and its address do not fit
    together, so that is none of the settings; but nobody else has our name.

    :param own_name: the client says that it is we, by name or by address.
    :param other_literal: it names itself by an address in brackets that is not its own. Honest
        clients behind a translator of addresses do so, too.
    :param bare_address: it names itself by an address without brackets.
    :param single_label: its name has no dot.
    :param own_names: our names besides the listener's, and our addresses where a translator of
        addresses stands before it.
    :param points: for the action ``score``.
    """

    name = "helo"

    def __init__(
        self,
        *,
        own_name: Action = "reject",
        other_literal: Action = "none",
        bare_address: Action = "none",
        single_label: Action = "none",
        own_names: Sequence[str] = (),
        points: float = 2.0,
        exempt: Sequence[str] = (),
        spare_postmaster: bool = True,
    ) -> None:
        super().__init__(exempt=exempt, spare_postmaster=spare_postmaster)
        check_actions(
            own_name=own_name,
            other_literal=other_literal,
            bare_address=bare_address,
            single_label=single_label,
        )
        self._own_name = own_name
        self._other_literal = other_literal
        self._bare_address = bare_address
        self._single_label = single_label
        self._own_names = frozenset(map(canonical_domain, own_names))
        addresses = (parse_address(_address_text(name)) for name in own_names)
        self._own_addresses = frozenset(each for each in addresses if each is not None)
        self._points = points

    @override
    async def find(self, session: MailSession, envelope: Envelope) -> Finding | None:
        action, text = self._judge(session)
        if action == "none":
            return None
        return Finding(f"{shown(session.helo)}: {text}", action, self._points)

    def _judge(self, session: MailSession) -> tuple[Action, str]:
        connection, helo = session.connection, session.helo
        literal = helo.startswith("[")
        address = parse_address(_address_text(helo))
        # A name in brackets, which is no literal, is still that name.
        name = canonical_domain(helo.strip("[]"))
        is_ours = name in self._own_names or name == canonical_domain(session.hostname)
        if address is not None and not is_ours:
            own = parse_address(connection.local)
            is_ours = address == own or address in self._own_addresses
        if is_ours:
            return self._own_name, "you are not who you say, for that is my own name"
        if address is None:
            # Literals of kinds that we do not know have a colon.
            if "." not in name and not (literal and ":" in name):
                return self._single_label, "that is not a fully qualified name"
        elif not literal:
            return self._bare_address, "an address stands in brackets (RFC 5321 section 4.1.3)"
        elif address != parse_address(connection.peer):
            return self._other_literal, "that is not the address you come from"
        return "none", ""


def _address_text(helo: str) -> str:
    """The address in a literal (RFC 5321 section 4.1.3), or the whole."""
    if not helo.startswith("["):
        return helo
    text = helo.strip("[]")
    return text[5:] if text[:5].lower() == "ipv6:" else text
