"""What the writer remembers of accounts and mailboxes between its transactions."""

from __future__ import annotations

import json
import sqlite3

from mailkit.errors import LimitExceeded, NoSuchAccount, NoSuchMailbox
from mailkit.model import INBOX, Flags
from mailkit.store.sqlite.flags import KEYWORD_SHIFT, FlagSets, join_keywords, split_flags
from mailkit.store.sqlite.rows import QUOTA_LIMITS

#: Different keywords that the messages of one account may have.
MAX_KEYWORDS = 1000
#: Different sets of keywords in one account.
MAX_KEYWORD_SETS = 50_000
#: Octets of all those sets together: each stays in memory.
MAX_KEYWORD_OCTETS = 4 * 1024 * 1024
#: Accounts and mailboxes that are remembered before all are forgotten.
_CACHE_LIMIT = 10_000


class AccountState:
    """An account's row."""

    __slots__ = (
        "annotation_octets",
        "id",
        "keyword_octets",
        "keyword_sets",
        "keywords",
        "max_mailboxes",
        "max_messages",
        "max_octets",
        "modseq",
        "name",
        "usage",
    )

    def __init__(
        self,
        account_id: int,
        name: str,
        modseq: int,
        max_octets: int | None,
        max_messages: int | None,
        max_mailboxes: int | None,
    ) -> None:
        self.id = account_id
        self.name = name
        self.modseq = modseq
        #: None for no limit.
        self.max_octets = max_octets
        self.max_messages = max_messages
        self.max_mailboxes = max_mailboxes
        #: Octets and number of all messages; None until needed.
        self.usage: tuple[int, int] | None = None
        #: Of shared annotations (True) in its mailboxes, and of its private ones; once needed.
        self.annotation_octets: dict[bool, int] = {}
        #: Lower case to first spelling; None until needed.
        self.keywords: dict[str, str] | None = None
        self.keyword_sets: dict[str, int] = {}
        self.keyword_octets = 0


class MailboxState:
    """A mailbox's row with its counters."""

    __slots__ = (
        "account",
        "highest_modseq",
        "id",
        "messages",
        "name",
        "place",
        "size",
        "uid_next",
        "uid_validity",
        "unseen",
    )

    def __init__(
        self,
        mailbox_id: int,
        account: AccountState,
        name: str,
        uid_validity: int,
        uid_next: int,
        highest_modseq: int,
        messages: int,
        unseen: int,
        size: int,
    ) -> None:
        self.id = mailbox_id
        self.account = account
        self.name = name
        self.uid_validity = uid_validity
        #: What the log says of it with each message: owner, name and UIDVALIDITY, as JSON.
        self.place = f"{json.dumps(account.name)},{json.dumps(name)},{uid_validity}"
        self.uid_next = uid_next
        self.highest_modseq = highest_modseq
        self.messages = messages
        self.unseen = unseen
        self.size = size

    def count(self, messages: int, unseen: int, octets: int) -> None:
        """Messages have come, or with negative numbers gone."""
        self.messages += messages
        self.unseen += unseen
        self.size += octets
        usage = self.account.usage
        if usage is not None:
            self.account.usage = usage[0] + octets, usage[1] + messages


# An account's modification sequence is the highest of its mailboxes, or of one that was deleted.
_ACCOUNT = f"""
SELECT id, name, max(modseq, ifnull(
    (SELECT max(highest_modseq) FROM mailbox WHERE account_id = account.id), 0)), {QUOTA_LIMITS}
FROM account WHERE """

_MAILBOX = """
SELECT id, name, uid_validity, uid_next, highest_modseq, messages, unseen, size, account_id
FROM mailbox WHERE selectable AND """


class States:
    """Accounts and mailboxes by name and id, read from the index when first asked for."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._accounts: dict[str, AccountState] = {}
        self._accounts_by_id: dict[int, AccountState] = {}
        self._mailboxes: dict[int, MailboxState] = {}
        self._names: dict[tuple[int, str], MailboxState] = {}
        self.flag_sets = FlagSets(connection)

    def clear(self) -> None:
        """Forget everything: the index is not what it was."""
        self._accounts.clear()
        self._accounts_by_id.clear()
        self.clear_mailboxes()
        self.flag_sets.clear()

    def clear_mailboxes(self) -> None:
        """Forget the mailboxes, because some were renamed or deleted."""
        self._mailboxes.clear()
        self._names.clear()

    def trim(self) -> None:
        """Keep the memory bounded; called between transactions."""
        if len(self._mailboxes) + len(self._accounts) > _CACHE_LIMIT:
            self.clear()

    def account(self, name: str) -> AccountState:
        """The account of that name.

        :raises NoSuchAccount: there is none.
        """
        state = self._accounts.get(name)
        if state is None:
            row = self._connection.execute(_ACCOUNT + "name = ?", (name,)).fetchone()
            if row is None:
                raise NoSuchAccount
            state = self._add_account(row)
        return state

    def known_account(self, account_id: int) -> AccountState | None:
        """The account if it is remembered."""
        return self._accounts_by_id.get(account_id)

    def account_by_id(self, account_id: int) -> AccountState:
        """:raises NoSuchAccount: there is none."""
        state = self._accounts_by_id.get(account_id)
        if state is None:
            row = self._connection.execute(_ACCOUNT + "id = ?", (account_id,)).fetchone()
            if row is None:
                raise NoSuchAccount
            state = self._add_account(row)
        return state

    def _add_account(
        self, row: tuple[int, str, int, int | None, int | None, int | None]
    ) -> AccountState:
        state = AccountState(*row)
        self._accounts[state.name] = self._accounts_by_id[state.id] = state
        return state

    def mailbox(self, account: AccountState, name: str) -> MailboxState:
        """The account's mailbox of that canonical name.

        :raises NoSuchMailbox: there is none, or it is not selectable.
        """
        state = self._names.get((account.id, name))
        if state is None:
            row = self._connection.execute(
                _MAILBOX + "account_id = ? AND name = ?", (account.id, name)
            ).fetchone()
            state = self._add_mailbox(row)
        return state

    def mailbox_by_id(self, mailbox_id: int) -> MailboxState:
        """:raises NoSuchMailbox: there is none, or it is not selectable."""
        state = self._mailboxes.get(mailbox_id)
        if state is None:
            row = self._connection.execute(_MAILBOX + "id = ?", (mailbox_id,)).fetchone()
            state = self._add_mailbox(row)
        return state

    def delivery_mailbox(
        self, account: AccountState, name: str, special_use: str | None = None
    ) -> MailboxState:
        """The mailbox of that special use, or else of that name, or else INBOX."""
        if special_use is not None:
            row = self._connection.execute(
                "SELECT name FROM mailbox WHERE account_id = ? AND special_use = ? AND selectable"
                " ORDER BY name LIMIT 1",
                (account.id, special_use),
            ).fetchone()
            if row is not None:
                return self.mailbox(account, row[0])
        try:
            return self.mailbox(account, name)
        except NoSuchMailbox:
            return self.mailbox(account, INBOX)

    def _add_mailbox(
        self, row: tuple[int, str, int, int, int, int, int, int, int] | None
    ) -> MailboxState:
        if row is None:
            raise NoSuchMailbox
        mailbox_id, name, *counters, account_id = row
        account = self.account_by_id(account_id)
        state = MailboxState(mailbox_id, account, name, *counters)
        self._mailboxes[mailbox_id] = self._names[account.id, name] = state
        return state

    # Flags.

    def _load_keywords(self, account: AccountState) -> dict[str, str]:
        if account.keywords is None:
            account.keywords = {}
            for number, text in self._connection.execute(
                "SELECT id, keywords FROM keyword_set WHERE account_id = ?", (account.id,)
            ):
                account.keyword_sets[text] = number
                account.keyword_octets += len(text)
                for keyword in text.split(" "):
                    account.keywords[keyword.lower()] = keyword
        return account.keywords

    def known_flags(self, account: AccountState, flags: Flags) -> Flags:
        """The flags in the account's spelling, without those that no message has ever had."""
        bits, keywords = split_flags(flags)
        if not keywords:
            return self.flag_sets[bits]
        known = self._load_keywords(account)
        return self.flag_sets[bits] | {
            known[keyword.lower()] for keyword in keywords if keyword.lower() in known
        }

    def encode(self, account: AccountState, flags: Flags) -> int:
        """The integer for flags, in the account's spelling; a new set of keywords is kept.

        :raises LimitExceeded: too many keywords, or sets of them.
        """
        bits, keywords = split_flags(flags)
        if not keywords:
            return bits
        known = self._load_keywords(account)
        new: dict[str, str] = {}
        for keyword in sorted(keywords):
            if keyword.lower() not in known:
                new.setdefault(keyword.lower(), keyword)
        if len(known) + len(new) > MAX_KEYWORDS:
            raise LimitExceeded(f"An account has at most {MAX_KEYWORDS} different keywords")
        text = join_keywords({new.get(k.lower()) or known[k.lower()] for k in keywords})
        number = account.keyword_sets.get(text)
        if number is None:
            octets = account.keyword_octets + len(text)
            if len(account.keyword_sets) >= MAX_KEYWORD_SETS or octets > MAX_KEYWORD_OCTETS:
                raise LimitExceeded("Too many combinations of keywords")
            cursor = self._connection.execute(
                "INSERT INTO keyword_set (account_id, keywords) VALUES (?, ?)", (account.id, text)
            )
            number = account.keyword_sets[text] = int(cursor.lastrowid or 0)
            account.keyword_octets = octets
            known.update(new)
        return bits | number << KEYWORD_SHIFT
