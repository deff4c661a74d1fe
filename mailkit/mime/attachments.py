"""Does a message carry files?"""

from __future__ import annotations

from mailkit.mime.parts import Part


def has_attachment(root: Part) -> bool:
    """Whether a reader would show an attachment.

    That is a part that says so, or one with a file name or another type than text that is not shown
    in the text (RFC 2392). A message that is nothing but text has none.
    """
    if not root.children and root.type == b"text":
        return False
    return any(_is_attachment(part) for part in root.walk() if not part.is_multipart)


def _is_attachment(part: Part) -> bool:
    disposition = part.disposition
    if disposition is not None and disposition[0].lower() == b"attachment":
        return True
    return part.content_id is None and (part.type != b"text" or part.filename is not None)
