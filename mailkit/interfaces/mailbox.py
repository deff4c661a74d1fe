"""The contracts of a mailbox: its messages, and what it can do beyond showing them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, BinaryIO

from zope.interface import Attribute, Interface

from mailkit.model import (
    AppendMessage,
    AppendResult,
    Changes,
    CopyResult,
    FlagOp,
    Flags,
    MailboxInfo,
    MailboxView,
    MessageInfo,
    MessageSummary,
    StoreResult,
)
from mailkit.query import Query, SortCriterion, ThreadAlgorithm, Threads
from mailkit.quiet import QuietResult


class IMailbox(Interface):
    """The messages of one mailbox. Required of every backend; read-only by itself."""

    name: str = Attribute("""Full name, levels parted by ``/``; ``INBOX`` in capitals.""")

    def get_info() -> Awaitable[MailboxInfo]:
        """State of the mailbox now.

        :raises NoSuchMailbox: it has been deleted since it was opened.
        """

    def list_uids() -> Awaitable[Sequence[int]]:
        """UIDs of all messages, ascending.

        UIDs are 1 to 2**32-1, strictly ascending in order of arrival and never used again under
        one UIDVALIDITY (RFC 3501 section 2.3.1.1). The caller does not change the sequence, so a
        backend may give the same one to many callers.
        """

    def get_messages(uids: Sequence[int]) -> Awaitable[Sequence[MessageInfo]]:
        """Details of some messages, by ascending UID; UIDs that do not exist are left out.

        :param uids: ascending.
        """

    def open_message(uid: int) -> Awaitable[BinaryIO]:
        """The octets of a message, as a seekable binary file that the caller closes.

        :raises NoSuchMessage: it does not exist (any more).
        """

    def get_changes(since: int) -> Awaitable[Changes]:
        """What happened after modification sequence ``since``.

        ``since`` is a ``highest_modseq`` seen before, or 0 for everything. A vanished message is
        never also in ``added`` or ``changed``.
        """


class IWritableMailbox(IMailbox):
    """A mailbox that takes messages and changes. Each change has a new modification sequence."""

    def append(messages: Sequence[AppendMessage]) -> Awaitable[AppendResult]:
        """Add messages, all or none, durably, with ascending new UIDs (RFC 3501 section 6.3.11).

        The caller keeps the spools and closes them afterwards.
        """

    def store_flags(
        uids: Sequence[int], op: FlagOp, flags: Flags, unchanged_since: int | None = None
    ) -> Awaitable[StoreResult]:
        """Change flags of messages (RFC 3501 section 6.4.6); UIDs that do not exist are ignored.

        Keywords that differ in letter case alone are one: it keeps the spelling in which the mailbox
        has seen it first.

        :param unchanged_since: leave messages alone whose modseq is higher (RFC 7162
            section 3.1.3).

        A message whose flags stay the same keeps its modification sequence.
        """

    def expunge(uids: Sequence[int], only_deleted: bool = False) -> Awaitable[Sequence[int]]:
        """Remove messages for good.

        :param only_deleted: leave those that are not \\Deleted in the moment of their removal: one
            from which somebody takes the flag away, and is told so, is not removed after that.
        :returns: the UIDs that were there and are gone, ascending.
        """


class IQuietMailbox(Interface):
    """A mailbox that changes flags without telling of each message what has become of it."""

    def store_quietly(
        uids: Sequence[int], op: FlagOp, flags: Flags, unchanged_since: int | None = None
    ) -> Awaitable[QuietResult]:
        """``store_flags`` for who knows the messages, and can work out what they are now.

        All that changes has one modification sequence, which no other change has. Where nothing
        does, the mailbox stays as it is.
        """


class ICopyingMailbox(Interface):
    """A mailbox that can copy or move messages inside its account without reading them."""

    def copy_messages(uids: Sequence[int], destination: str) -> Awaitable[CopyResult]:
        """Copy messages with their flags and internal dates, all or none (RFC 3501 6.4.7).

        UIDs that do not exist are left out of the result.

        :raises NoSuchMailbox: there is no mailbox ``destination``.
        """

    def move_messages(uids: Sequence[int], destination: str) -> Awaitable[CopyResult]:
        """Move messages in one step that nobody sees half done (RFC 6851 section 3.3)."""


class IReplacingMailbox(Interface):
    """A mailbox that removes a message and adds another in one step (RFC 8508)."""

    def replace_message(
        uid: int, destination: str, message: AppendMessage
    ) -> Awaitable[AppendResult]:
        """Add a message to a mailbox, and remove one of this mailbox: both durably, or none.

        A quota counts what the step adds (RFC 8508 section 3.4). The caller keeps the spool and
        closes it afterwards.

        :param destination: may be this mailbox.
        :raises NoSuchMailbox: there is no mailbox ``destination``.
        :raises NoSuchMessage: there is no message ``uid`` (any more).
        """


class IWatchableMailbox(Interface):
    """A mailbox that tells of changes, whoever makes them."""

    def watch(callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback()`` on the reactor's thread after each change; not awaitable.

        The callback asks ``get_changes`` for details. Calls may be merged.

        :returns: a function that ends the watch; it may be called more than once.
        """


class IVersionedMailbox(Interface):
    """A watchable mailbox in which a change may be seen before the watchers are told of it.

    So it is where other processes change it, too: whoever was answered by one of them may ask here
    before the word of it has come.
    """

    def get_version() -> int:
        """A number that is another one after a change that watchers may not know of; not awaitable.

        Asked at each command, so it must cost little. That it differs does not mean that there was
        such a change.
        """


class ISearchableMailbox(Interface):
    """A mailbox that searches faster than by reading all messages."""

    def search(query: Query) -> Awaitable[Sequence[int]]:
        """UIDs of the messages that match, ascending: exactly those a plain scan would find.

        What that finds :class:`mailkit.matching.Matcher` says, of a message's details, its header or
        all of its octets.
        """


class ISortingMailbox(Interface):
    """A mailbox that sorts faster than by reading the headers of all messages."""

    def sort_messages(
        uids: Sequence[int], criteria: Sequence[SortCriterion]
    ) -> Awaitable[Sequence[int]]:
        """Those of the UIDs that exist, in the order that is wanted (RFC 5256 section 3).

        Messages that are equal by all criteria stay in the order of their UIDs; texts compare by
        i;unicode-casemap (RFC 5051).

        :param uids: ascending.
        :param criteria: at least one, the most important first.
        """


class ISummarizingMailbox(Interface):
    """A mailbox that keeps the ENVELOPE and the like ready to send."""

    def get_summaries(
        uids: Sequence[int], structure: bool = True
    ) -> Awaitable[Sequence[MessageSummary]]:
        """Summaries by ascending UID; UIDs that do not exist are left out.

        Callers ask for at most some hundred at a time.

        :param structure: the BODYSTRUCTURE is wanted too. Without it, ``body_structure`` may be
            empty: all else stands in the header, so that the message need not be read whole.
        """


class IReadyFields(Interface):
    """A mailbox that tells of many messages at once where nothing has to be made or waited for."""

    def read_fields(uids: Sequence[int], fields: Sequence[str]) -> Sequence[Sequence[Any]] | None:
        """The values of some fields, each of all messages in the order of their UIDs; not awaitable.

        None where a message or a value is missing, and in all other cases, whatever the reason:
        ``get_messages`` and ``get_summaries`` tell.

        :param uids: ascending; at most some hundred.
        :param fields: names of those of :class:`~mailkit.model.MessageInfo`, but for ``uid`` and
            ``thread_id``, and of :class:`~mailkit.model.MessageSummary`, in any order and number.
            ``size`` and ``modseq`` come as octets: their decimal digits. ``header`` may have
            names of :data:`~mailkit.model.SUMMARY_FIELDS` behind it, in lower case with a space
            before each: those fields alone.
        """


class IThreadingMailbox(Interface):
    """A mailbox that puts messages into threads faster than by reading all headers."""

    def thread_messages(uids: Sequence[int], algorithm: ThreadAlgorithm) -> Awaitable[Threads]:
        """Those of the UIDs that exist, each once, in threads (RFC 5256 section 3).

        :param uids: ascending. Others than these are messages that are not there.
        """


class IThreadNamingMailbox(Interface):
    """A mailbox that knows to which conversations its messages belong (RFC 8474 section 5.2)."""

    def name_threads(uids: Sequence[int]) -> Awaitable[None]:
        """See to it that ``MessageInfo.thread_id`` of these messages is known from now on.

        It is the same for all messages of a conversation, in whatever mailboxes of the account,
        and for all that have the same ``email_id``; once known it never changes. It is made of
        the characters of an ``email_id``, and never equal to one.

        :param uids: ascending.
        """


class IUnendedMessages(Interface):
    """A mailbox that knows which of its messages do not end with a line end.

    POP3 sends those with one more CRLF. With this interface its sizes are those of what is sent
    (RFC 1939 section 11); without it, those messages' sizes are two octets less.
    """

    def list_unended(uids: Sequence[int]) -> Awaitable[Sequence[int]]:
        """Those of the messages that are not empty and do not end with CRLF, ascending.

        Asked at each POP3 login, so nothing is read for it. Callers ask for at most some hundred
        at a time.

        :param uids: ascending; those that do not exist are left out.
        """


class ISizedMailbox(Interface):
    """A mailbox that tells at once all that POP3 asks when a session begins."""

    def get_sizes() -> Awaitable[tuple[MailboxInfo, Sequence[int], Sequence[int], int] | None]:
        """The mailbox, its UIDs, ascending, of each message the octets that POP3 sends, and their sum.

        Those are its own and those of the line end that it may lack (RFC 1939 section 11). None
        where the mailbox is better asked in pieces. The caller changes nothing of the result.
        """


class IReadyMessages(Interface):
    """A mailbox that gives many messages at once where nothing has to be waited for."""

    def read_ready(uid: int) -> bytes | None:
        """All octets of a small message that are at hand; not awaitable.

        None in all other cases, whatever the reason: ``open_message`` tells it.
        """


class IBatchReadingMailbox(Interface):
    """A mailbox that reads many small messages in one go."""

    def read_messages(uids: Sequence[int], octets: int) -> Awaitable[Sequence[bytes]]:
        """All octets of the first of some messages, in their order.

        As many as come at little cost; perhaps none, whatever the reason: ``open_message`` tells
        it of the first one that lacks.

        :param octets: that they have together, at most.
        """


class IRecentMailbox(Interface):
    """A mailbox that remembers which messages were announced as \\Recent (RFC 3501 2.3.2)."""

    def claim_recent(last: int | None = None) -> Awaitable[int]:
        """Take all messages that are recent now for the calling session.

        :param last: the last of them, by UID: whatever came after it stays recent.
        :returns: ``first_recent_uid`` as it was: messages from this UID on are recent in the
            calling session and in no later one.
        """


class IViewableMailbox(Interface):
    """A mailbox that answers at once all that a session asks when it opens it."""

    def get_view(claim_recent: bool) -> Awaitable[MailboxView]:
        """The present state; UIDs may be newer than the counters, never older.

        :param claim_recent: do what :meth:`IRecentMailbox.claim_recent` does; the info tells
            ``first_recent_uid`` as it was.
        """
