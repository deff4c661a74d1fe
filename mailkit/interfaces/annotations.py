"""The contracts of annotations about messages (RFC 5257)."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence

from zope.interface import Attribute, Interface

from mailkit.annotations import Annotation, AnnotationChange
from mailkit.model import StoreResult


class IAnnotatedMailbox(Interface):
    """A mailbox that keeps annotations about its messages.

    They go with their message: to the mailbox where it is copied or moved to go the shared ones and
    those of the user who does it, as far as that user may write them there (RFC 5257 section 4.6).
    ``append`` stores those that come with a message, and raises what :meth:`store_annotations` does.

    Who may read the mailbox may read and write private ones. To write shared ones takes the right
    ``n`` (RFC 5257 section 3.4).
    """

    max_annotation: int = Attribute("""Octets that a value may have; 1024 at least.""")

    private_annotations: bool = Attribute(
        """Users have values of their own; if not, those that are not shared are refused."""
    )

    def get_annotations(uids: Sequence[int]) -> Awaitable[Mapping[int, Sequence[Annotation]]]:
        """All values that the user may see, by UID; messages without any are left out.

        Those of a message are sorted by entry, the private value before the shared one. Callers
        ask for at most some hundred messages at a time.

        :param uids: ascending.
        """

    def store_annotations(
        uids: Sequence[int],
        annotations: Sequence[Annotation],
        unchanged_since: int | None = None,
    ) -> Awaitable[StoreResult]:
        """Change values of messages, all or none, durably; UIDs that do not exist are ignored.

        A message of which a value has changed gets a new modification sequence.

        :param unchanged_since: leave messages alone whose modseq is higher (RFC 7162
            section 3.1.3).
        :raises PermissionDenied: the user may not change one of them.
        :raises EntryTooLarge: a value has too many octets.
        :raises TooManyEntries: a message would have too many, or there are too many octets of all.
        """

    def get_annotation_changes(since: int) -> Awaitable[Sequence[AnnotationChange]]:
        """The values that the user may see and that changed after a modification sequence.

        By ascending UID and entry. Of those that were removed long ago, some may be missing; new
        messages' are among them.
        """


class IAnnotatingAccount(Interface):
    """An account whose mailboxes provide :class:`IAnnotatedMailbox`, all of them."""
