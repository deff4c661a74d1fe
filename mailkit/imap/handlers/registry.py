"""All commands and capabilities; an extension adds its lines here or in its module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from mailkit.imap.handlers import any as any_state
from mailkit.imap.handlers import append, authenticated, fetch, not_authenticated, search, selected
from mailkit.imap.handlers.table import Capability, Facts, Verb

#: Commands by name in capitals.
VERBS: Mapping[bytes, Verb] = {
    **any_state.VERBS,
    **not_authenticated.VERBS,
    **authenticated.VERBS,
    **append.VERBS,
    **selected.VERBS,
    **fetch.VERBS,
    **search.VERBS,
}

#: In the order in which CAPABILITY names them.
CAPABILITIES: Sequence[Capability] = (
    *any_state.CAPABILITIES,
    *not_authenticated.CAPABILITIES,
    *authenticated.CAPABILITIES,
    *selected.CAPABILITIES,
)


@lru_cache(maxsize=64)
def capability_list(facts: Facts) -> bytes:
    """What CAPABILITY tells a client (RFC 3501 section 7.2.1)."""
    return b" ".join(capability.name for capability in CAPABILITIES if capability.offered(facts))
