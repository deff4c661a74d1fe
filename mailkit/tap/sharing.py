"""How mailboxes are shown that users share, and with whom they may share them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from mailkit.errors import InvalidMailboxName
from mailkit.tap.errors import SettingError
from mailkit.tap.strict_options import StrictOptions

if TYPE_CHECKING:
    from mailkit.store.sharing.names import SharingSettings

#: Names of the options.
OTHER_USERS, SHARED, ANYONE = "other-users", "shared", "share-with-anyone"


def parse_sharing(options: Mapping[str, Any]) -> SharingSettings | None:
    """What the options say; None when they say nothing.

    :raises SettingError: a name cannot be where others' mailboxes are.
    """
    names = {
        parameter: options[option]
        for option, parameter in ((OTHER_USERS, "other_users"), (SHARED, "shared"))
        if options.get(option) is not None
    }
    anyone = bool(options.get(ANYONE))
    if not names and not anyone:
        return None
    from mailkit.store.sharing.names import SharingSettings

    try:
        return SharingSettings(**names, anyone=anyone)
    except (ValueError, InvalidMailboxName) as error:
        raise SettingError(str(error)) from error


class SharingOptions(StrictOptions):
    """The options, for commands that serve IMAP."""

    optParameters: ClassVar[list[list[Any]]] = [
        [
            OTHER_USERS,
            None,
            None,
            "Level above the mailboxes of other users [default: Other Users]",
        ],
        [SHARED, None, None, "Level above the mailboxes of public accounts [default: Shared]"],
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        [ANYONE, None, "Let users share mailboxes with everybody, not only with users they name"],
    ]
