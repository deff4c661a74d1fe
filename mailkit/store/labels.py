"""Rules of labels that the stores share."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

from mailkit.errors import PermissionDenied
from mailkit.model import LABEL_FLAGS, FlagOp, Flags
from mailkit.store.naming import canonical_name, sort_key


class _Sharing(Protocol):
    def is_others(self, name: str) -> bool:
        """Whether a name means a mailbox of somebody else, or none."""


def check_names(account: _Sharing, names: Iterable[str]) -> None:
    """:raises PermissionDenied: one of the names is not that of an account's own mailbox."""
    if any(account.is_others(name) for name in names):
        raise PermissionDenied("Only mailboxes of your own are labels")


def wanted_names(
    op: FlagOp, names: Iterable[str], own: str, labels: Collection[str]
) -> tuple[list[str], list[str]]:
    """To which mailboxes messages are to be copied, and from which their copies go.

    :param own: name of the mailbox where the messages are.
    :param labels: names of the others that may hold copies.
    :raises PermissionDenied: the messages themselves would go.
    """
    wanted = {canonical_name(name) for name in names}
    if op is FlagOp.REMOVE:
        if own in wanted:
            raise PermissionDenied("A message loses its own mailbox by MOVE or EXPUNGE alone")
        return [], sorted(wanted.intersection(labels), key=sort_key)
    add = sorted(wanted - {own}, key=sort_key)
    return add, sorted(set(labels) - wanted, key=sort_key) if op is FlagOp.REPLACE else []


def flag_changes(op: FlagOp, flags: Flags) -> list[tuple[FlagOp, Flags]]:
    """What happens to the flags that are labels."""
    if op is FlagOp.REPLACE:
        changes = [(FlagOp.ADD, flags), (FlagOp.REMOVE, LABEL_FLAGS - flags)]
    else:
        changes = [(op, flags)]
    return [(each, some) for each, some in changes if some]
