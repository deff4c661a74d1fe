"""The first words of a message, as lists of messages show them (RFC 8970)."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from mailkit._typing import override
from mailkit.mime.content import part_text
from mailkit.mime.headers import Octets
from mailkit.mime.parts import Part

#: Characters of a preview (RFC 8970 section 3.3: at most 256).
MAX_PREVIEW = 200
#: Decoded octets of one part that are looked at.
MAX_PREVIEW_OCTETS = 16 * 1024
#: Text parts that are looked at until one says something.
MAX_PREVIEW_PARTS = 10

_SPACE = re.compile(r"\s+")
# Control characters, and those without width with which newsletters fill their previews.
_INVISIBLE = re.compile(
    "[\0-\x08\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]+"
)
# RFC 3676 section 4.3: what follows is the signature.
_SIGNATURE = re.compile(r"(?:^|\n)-- \r?(?:\n|$)")
_QUOTED_LINE = re.compile(r"(?m)^[ \t]*>.*$")
_HIDDEN = frozenset(("head", "script", "style", "template", "title"))
_BLOCKS = frozenset(
    [
        "address",
        "article",
        "blockquote",
        "br",
        "div",
        "dd",
        "dl",
        "dt",
        "footer",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "ol",
        "p",
        "pre",
        "section",
        "table",
        "td",
        "th",
        "tr",
        "ul",
    ]
)


def preview_text(data: Octets, root: Part) -> str:
    """The first words of a message; empty where it has none. Never raises.

    They come from the first part of text that has any. Quoted lines and the signature are left out,
    unless there is nothing else.
    """
    looked_at = 0
    for part in root.walk():
        if part.children or part.type != b"text" or looked_at >= MAX_PREVIEW_PARTS:
            continue
        looked_at += 1
        disposition = part.header.get(b"content-disposition") or b""
        if disposition.lstrip().lower().startswith(b"attachment"):
            continue
        text = part_text(data, part, MAX_PREVIEW_OCTETS)
        if part.subtype == b"html":
            words = _clean(_without_markup(text))
        else:
            own = _QUOTED_LINE.sub("", _SIGNATURE.split(text, maxsplit=1)[0])
            words = _clean(own) or _clean(text)
        if words:
            return words
    return ""


def _clean(text: str) -> str:
    # More than enough, however much of it is white space that counts once.
    return _SPACE.sub(" ", _INVISIBLE.sub("", text)).strip()[:MAX_PREVIEW].rstrip()


class _Text(HTMLParser):
    """Collects what a reader sees."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._hidden: list[str] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN:
            self._hidden.append(tag)
        elif tag == "body":
            # lenient: a head that nobody has closed ends here.
            self._hidden.clear()
        elif tag in _BLOCKS:
            self.pieces.append(" ")

    @override
    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden:
            del self._hidden[self._hidden.index(tag) :]
        elif tag in _BLOCKS:
            self.pieces.append(" ")

    @override
    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.pieces.append(data)


def _without_markup(text: str) -> str:
    head, _, tail = text.rpartition("<")
    if ">" not in tail and not tail[:1].isspace():
        # A tag that is cut off, which the parser would take for text.
        text = head
    parser = _Text()
    try:
        parser.feed(text)
        parser.close()
    except (AssertionError, ValueError):
        # Declarations that are damaged beyond what it takes; the words before them will do.
        pass
    return "".join(parser.pieces)
