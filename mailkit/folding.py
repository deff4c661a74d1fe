"""Texts in the form in which they are compared: without regard to case, composition and tabs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

#: Characters that are folded in one go. A call keeps all other threads waiting, and takes quadratic
#: time to sort combining marks.
FOLD_PIECE = 1024
#: Folded characters that are searched in one go.
SEARCH_PIECE = 64 * 1024

# RFC 5051 section 2: its title case is I. Full case folding leaves it alone.
_DOTLESS_I = "\u0131"
# Where folding and spacing may differ from the octets, in a text to be found.
_BREAKS = re.compile(r"[\s:]+")


def fold(text: str) -> str:
    """Text in the form that is compared: equal for texts that differ in case or composition.

    Compatibility decomposition and full case folding: all that i;unicode-casemap (RFC 5051) takes
    for equal, and a little more (``ß`` and ``ss``). A tab is a space: a long field continues with
    either, and who looks for two words of it has seen neither.
    """
    if text.isascii():
        return _fold_ascii(text)
    if len(text) <= FOLD_PIECE:
        return _fold_piece(text)
    return "".join(map(_fold_piece, _pieces(text)))


def _fold_ascii(text: str) -> str:
    return text.lower().replace("\t", " ")


def _fold_piece(text: str) -> str:
    if text.isascii():
        return _fold_ascii(text)
    # Decomposed before as well: some letters fold only when they are apart.
    apart = unicodedata.normalize("NFKD", text).replace("\t", " ").replace(_DOTLESS_I, "i")
    return unicodedata.normalize("NFKD", apart.casefold())


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces of at most :data:`FOLD_PIECE` that fold as the whole does."""
    start = 0
    while len(text) - start > FOLD_PIECE:
        end = start + FOLD_PIECE
        for cut in range(end, start + FOLD_PIECE // 2, -1):
            if _begins_anew(text[cut]):
                end = cut
                break
        # Else there are more marks on one letter than anybody reads: it folds in two parts.
        yield text[start:end]
        start = end
    yield text[start:]


def _begins_anew(character: str) -> bool:
    """Whether folding never moves a part of the character before what precedes it."""
    return character.isascii() or not unicodedata.combining(
        unicodedata.normalize("NFKD", character)[0]
    )


def find_all(needles: Iterable[str], texts: Iterable[str]) -> set[str]:
    """Those of the folded needles that stand in one of the texts."""
    missing = set(needles)
    found: set[str] = set()
    for text in texts:
        if not missing:
            break
        # Pieces overlap by what a needle may begin with.
        overlap = max(map(len, missing)) - 1
        before = ""
        for piece in _folded_pieces(text):
            piece = before + piece
            if present := {needle for needle in missing if needle in piece}:
                found |= present
                missing -= present
            before = piece[-overlap:] if overlap else ""
    return found


def _folded_pieces(text: str) -> Iterator[str]:
    """The folded text, in pieces of some :data:`SEARCH_PIECE`."""
    if text.isascii():
        for start in range(0, len(text), SEARCH_PIECE):
            yield _fold_ascii(text[start : start + SEARCH_PIECE])
        return
    folded: list[str] = []
    size = 0
    for piece in map(_fold_piece, _pieces(text)):
        folded.append(piece)
        size += len(piece)
        if size >= SEARCH_PIECE:
            yield "".join(folded)
            folded.clear()
            size = 0
    yield "".join(folded)


def longest_token(needle: str) -> bytes:
    """The longest piece of a folded needle that stands unbroken wherever the needle stands."""
    return max(_BREAKS.split(needle), key=len).encode("utf-8", "replace")
