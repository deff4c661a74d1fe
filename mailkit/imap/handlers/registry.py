"""All commands and capabilities; an extension adds its lines here or in its module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from mailkit.imap.handlers import (
    access,
    annotate,
    append,
    authenticated,
    batches,
    comparator,
    compress,
    context,
    convert,
    fetch,
    filters,
    labelling,
    language,
    listing,
    messagelimit,
    metadata,
    multisearch,
    not_authenticated,
    notify,
    progress,
    quota,
    resync,
    rev2,
    search,
    selected,
    selecting,
    sort,
    status,
    thread,
    uidonly,
    unauthenticate,
    urlauth,
    urlbinary,
    utf8,
)
from mailkit.imap.handlers import any as any_state
from mailkit.imap.handlers.table import Capability, Enabling, Facts, ReturnOption, Verb

#: Commands by name in capitals.
VERBS: Mapping[bytes, Verb] = {
    **any_state.VERBS,
    **language.VERBS,
    **not_authenticated.VERBS,
    **selecting.VERBS,
    **authenticated.VERBS,
    **unauthenticate.VERBS,
    **listing.VERBS,
    **append.VERBS,
    **quota.VERBS,
    **metadata.VERBS,
    **urlauth.VERBS,
    **compress.VERBS,
    **status.VERBS,
    **selected.VERBS,
    **fetch.VERBS,
    **convert.VERBS,
    **search.VERBS,
    **context.VERBS,
    **multisearch.VERBS,
    **sort.VERBS,
    **comparator.VERBS,
    **thread.VERBS,
    **access.VERBS,
    **notify.VERBS,
    **batches.VERBS,
}

#: In the order in which CAPABILITY names them.
CAPABILITIES: Sequence[Capability] = (
    *rev2.CAPABILITIES,
    *any_state.CAPABILITIES,
    *language.CAPABILITIES,
    *not_authenticated.CAPABILITIES,
    *authenticated.CAPABILITIES,
    *unauthenticate.CAPABILITIES,
    *append.CAPABILITIES,
    *utf8.CAPABILITIES,
    *compress.CAPABILITIES,
    *quota.CAPABILITIES,
    *urlauth.CAPABILITIES,
    *urlbinary.CAPABILITIES,
    *listing.CAPABILITIES,
    *metadata.CAPABILITIES,
    *filters.CAPABILITIES,
    *annotate.CAPABILITIES,
    *selected.CAPABILITIES,
    *fetch.CAPABILITIES,
    *convert.CAPABILITIES,
    *search.CAPABILITIES,
    *sort.CAPABILITIES,
    *comparator.CAPABILITIES,
    *context.CAPABILITIES,
    *multisearch.CAPABILITIES,
    *thread.CAPABILITIES,
    *access.CAPABILITIES,
    *notify.CAPABILITIES,
    *batches.CAPABILITIES,
    *uidonly.CAPABILITIES,
    *progress.CAPABILITIES,
    *status.CAPABILITIES,
    *messagelimit.CAPABILITIES,
    *resync.CAPABILITIES,
    *labelling.CAPABILITIES,
)

#: What LIST can be asked to return.
LIST_OPTIONS: Mapping[bytes, ReturnOption] = {
    **listing.LIST_OPTIONS,
    **access.LIST_OPTIONS,
    **metadata.LIST_OPTIONS,
}

#: What ENABLE can switch on.
ENABLEABLE: Enabling = {
    **resync.ENABLEABLE,
    **metadata.ENABLEABLE,
    **rev2.ENABLEABLE,
    **utf8.ENABLEABLE,
    **uidonly.ENABLEABLE,
}

#: What a server cannot be without: the base protocol, and what tells the client how to log in.
ESSENTIAL = frozenset((b"IMAP4rev1", b"STARTTLS", b"LOGINDISABLED"))


def _by_name() -> dict[str, Capability]:
    return {capability.name.decode("ascii").upper(): capability for capability in CAPABILITIES}


def checked_names(names: Iterable[str]) -> frozenset[str]:
    """Names of capabilities that may be left out, in capitals.

    :raises ValueError: there is none of that name, or it cannot be left out.
    """
    known = _by_name()
    wanted = frozenset(name.upper() for name in names)
    for name in sorted(wanted):
        if name not in known:
            raise ValueError(f"there is no capability {name}; known are {', '.join(sorted(known))}")
        if known[name].name in ESSENTIAL:
            raise ValueError(f"{name} cannot be left out")
    return wanted


def _needed(names: Mapping[str, Capability], name: bytes) -> tuple[bytes, ...]:
    needs = names[name.decode("ascii").upper()].needs
    return needs if isinstance(needs, tuple) else (needs,) if needs else ()


@lru_cache(maxsize=64)
def switched_on(without: frozenset[str]) -> tuple[frozenset[bytes], Mapping[bytes, Verb]]:
    """Names of the capabilities that are left, and the commands.

    :param without: capabilities that are not wanted, in capitals. Names that nobody knows, as an
        account may still have from another version, and essential ones leave nothing out.
    """
    names = _by_name()
    on = {
        capability.name
        for key, capability in names.items()
        if key not in without or capability.name in ESSENTIAL
    }
    while missing := {name for name in on if not on.issuperset(_needed(names, name))}:
        on -= missing
    verbs = {
        name: verb for name, verb in VERBS.items() if verb.extension in on or not verb.extension
    }
    return frozenset(on), verbs


@lru_cache(maxsize=64)
def offered(facts: Facts, extensions: frozenset[bytes]) -> frozenset[bytes]:
    """Names of the capabilities that a client is offered."""
    return frozenset(
        capability.name
        for capability in CAPABILITIES
        if capability.name in extensions
        and capability.unless not in extensions
        and capability.suits(facts)
    )


@lru_cache(maxsize=64)
def capability_list(facts: Facts, extensions: frozenset[bytes]) -> bytes:
    """What CAPABILITY tells a client (RFC 3501 section 7.2.1).

    :param extensions: those that are switched on.
    """
    names = offered(facts, extensions)
    return b" ".join(
        capability.name + capability.value(facts)
        for capability in CAPABILITIES
        if capability.name in names
    )
