"""What labels messages have, in FETCH and in searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.imap.grammar import SyntaxFault
from mailkit.imap.labels import (
    MAX_LABEL_KEYS,
    LabelledInfo,
    LabelNames,
    labels_in,
    with_labels,
)
from mailkit.imap.session import Selection
from mailkit.imap.spans import merge
from mailkit.interfaces import ILabelledMailbox
from mailkit.model import Flags, MessageInfo
from mailkit.query import All, Or, Query, UIDs

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol


#: Sets of labels that are remembered as FETCH tells them.
MAX_RENDERED = 1000


async def read_names(connection: IMAPProtocol) -> LabelNames:
    """Which label is which mailbox now."""
    assert connection.account is not None
    return LabelNames(await connection.account.list_mailboxes())


class LabelReader:
    """Tells the labels of messages, in one command."""

    def __init__(self, connection: IMAPProtocol, selection: Selection) -> None:
        self._connection = connection
        self._mailbox = selection.mailbox
        self._names: LabelNames | None = None
        # Most messages have the same few labels.
        self._rendered: dict[tuple[tuple[str, ...], Flags], bytes] = {}

    async def attach(self, infos: Sequence[MessageInfo]) -> Sequence[LabelledInfo]:
        """The details of messages with their labels."""
        if self._names is None:
            self._names = await read_names(self._connection)
        found: Mapping[int, Sequence[str]] = {}
        if infos and ILabelledMailbox.providedBy(self._mailbox):
            found = await self._mailbox.get_labels(uids=[info.uid for info in infos])
        return [
            LabelledInfo(*info, self._render(self._names, found.get(info.uid, ()), info.flags))
            for info in infos
        ]

    def _render(self, names: LabelNames, mailboxes: Sequence[str], flags: Flags) -> bytes:
        key = tuple(mailboxes), flags
        rendered = self._rendered.get(key)
        if rendered is None:
            if len(self._rendered) >= MAX_RENDERED:
                self._rendered.clear()
            rendered = names.render(mailboxes, flags, self._connection.utf8)
            self._rendered[key] = rendered
        return rendered


async def resolve_labels(
    connection: IMAPProtocol, selection: Selection, query: Query, names: LabelNames | None
) -> Query:
    """A search for labels as one for messages.

    :param names: which label is which mailbox, where that is known.
    """
    wanted = set(labels_in(query))
    if not wanted:
        return query
    names = names or await read_names(connection)
    mailboxes = {label: names.find(label) for label in wanted}
    # What people write may mean many mailboxes.
    if len(wanted) > MAX_LABEL_KEYS or sum(map(len, mailboxes.values())) > MAX_LABEL_KEYS:
        raise SyntaxFault(f"A search names at most {MAX_LABEL_KEYS} labels")
    found = {label: await _find_labelled(selection, mailboxes[label]) for label in wanted}
    return with_labels(query, found)


async def _find_labelled(selection: Selection, names: Sequence[str]) -> Query:
    """The messages of which one of these mailboxes holds a copy, or that are there themselves."""
    mailbox = selection.mailbox
    if mailbox.name in names:
        return All()
    if not ILabelledMailbox.providedBy(mailbox):
        return Or(())
    parts = []
    for name in names:
        spans = merge([(uid, uid + 1) for uid in await mailbox.find_labelled(name=name)])
        parts.append(UIDs(tuple((start, stop - 1) for start, stop in spans)))
    return Or(tuple(parts))
