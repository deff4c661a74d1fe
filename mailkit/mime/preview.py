"""The first words of a message, as lists of messages show them (RFC 8970)."""

from __future__ import annotations

import html
import re

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
# What begins a tag, a comment or a declaration: any other "<" is itself.
_TAG = re.compile(r"<(?:(/?)([A-Za-z][^\s/>]*)|[!?]|/)")
# Where a tag ends, and the quotes around a value, in which it does not.
_TAG_STOP = re.compile(r">|=\s*[\"']")
_COMMENT = re.compile(r"(?s)<!--(?:-?>|.*?--!?>)")
_RAW = {name: re.compile(rf"(?i)</{name}\b") for name in ("script", "style")}
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
            words = _clean(without_markup(text))
        else:
            own = _QUOTED_LINE.sub("", _SIGNATURE.split(text, maxsplit=1)[0])
            words = _clean(own) or _clean(text)
        if words:
            return words
    return ""


def _clean(text: str) -> str:
    # More than enough, however much of it is white space that counts once.
    return _SPACE.sub(" ", _INVISIBLE.sub("", text)).strip()[:MAX_PREVIEW].rstrip()


class _Words:
    """Collects what a reader sees."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._hidden: list[str] = []

    def begin(self, tag: str) -> None:
        if tag in _HIDDEN:
            self._hidden.append(tag)
        elif tag == "body":
            # lenient: a head that nobody has closed ends here.
            self._hidden.clear()
        elif tag in _BLOCKS:
            self.pieces.append(" ")

    def end(self, tag: str) -> None:
        if tag in self._hidden:
            del self._hidden[self._hidden.index(tag) :]
        elif tag in _BLOCKS:
            self.pieces.append(" ")

    def say(self, text: str) -> None:
        if text and not self._hidden:
            self.pieces.append(html.unescape(text))


def without_markup(text: str) -> str:
    """The words between the tags, as browsers tell them apart, in a time that is linear whatever
    stands there: docs/dependencies.md tells why it is no library that does it.
    """
    words = _Words()
    position = 0
    while (start := text.find("<", position)) >= 0:
        words.say(text[position:start])
        tag = _TAG.match(text, start)
        if tag is None:
            words.say("<")
            position = start + 1
            continue
        position = _end_of(text, start, tag)
        if position < 0:
            # Cut off: what a browser does with it, too.
            return "".join(words.pieces)
        if name := (tag[2] or "").lower():
            if tag[1]:
                words.end(name)
                continue
            words.begin(name)
            if text.endswith("/>", start, position):
                words.end(name)
            elif name in _RAW:
                # Nothing in it is a tag until it ends.
                if (close := _RAW[name].search(text, position)) is None:
                    return "".join(words.pieces)
                position = close.start()
    words.say(text[position:])
    return "".join(words.pieces)


def _end_of(text: str, start: int, tag: re.Match[str]) -> int:
    """Where a tag, a comment or a declaration ends; -1 where it does not."""
    if text.startswith("<!--", start):
        comment = _COMMENT.match(text, start)
        return comment.end() if comment else -1
    position = tag.end()
    if not tag[2]:
        return text.find(">", position) + 1 or -1
    while (stop := _TAG_STOP.search(text, position)) is not None:
        if stop[0] == ">":
            return stop.end()
        position = text.find(stop[0][-1], stop.end()) + 1
        if not position:
            break
    return -1
