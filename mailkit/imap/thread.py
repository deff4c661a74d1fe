"""What THREAD is asked for, and its response (RFC 5256 sections 4, 5). No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mailkit.imap.grammar import Arguments, SyntaxFault
from mailkit.query import ThreadAlgorithm

#: Numbers that are rendered at a time.
PIECE = 2000

_ALGORITHMS = {algorithm.value.encode("ascii"): algorithm for algorithm in ThreadAlgorithm}


def parse_algorithm(arguments: Arguments, offers: Callable[[bytes], bool]) -> ThreadAlgorithm:
    """``REFERENCES`` or another.

    :param offers: tells whether a capability is offered.
    """
    name = arguments.word("A threading algorithm")
    algorithm = _ALGORITHMS.get(name)
    if algorithm is None or not offers(b"THREAD=" + name):
        raise SyntaxFault(f"{name.decode('ascii')} is not a threading algorithm here")
    return algorithm


def render_threads(numbers: Sequence[int], depths: Sequence[int]) -> Iterator[bytes]:
    """``(2)(3 6 (4 23)(44 7 96))``, in pieces (RFC 5256 section 4).

    :param numbers: 0 stands for a dummy.
    """
    siblings = [False] * len(depths)
    for start in _mark_only_children(depths, siblings):
        if start:
            yield b""
    # Depths at which a parenthesis is open.
    stack: list[int] = []
    pieces: list[bytes] = []
    for number, depth, alone in zip(numbers, depths, siblings, strict=True):
        if len(pieces) >= PIECE:
            yield b"".join(pieces[:-1])
            del pieces[:-1]
        if not depth:
            # As most are.
            before = b")" * len(stack) + b"("
            pieces.append(before + b"%d" % number if number else before)
            stack = [0]
            continue
        before = b""
        while stack and stack[-1] >= depth:
            stack.pop()
            before += b")"
        if not alone:
            stack.append(depth)
            # A space parts a number from what is below it.
            spaced = not before and pieces and not pieces[-1].endswith(b"(")
            before += b" (" if spaced else b"("
        else:
            before += b" "
        pieces.append(before + b"%d" % number if number else before)
    yield b"".join(pieces) + b")" * len(stack)


def _mark_only_children(depths: Sequence[int], alone: list[bool]) -> Iterator[int]:
    """Note of each node whether it is the only child of its parent; roots are not.

    Gives the places from which it goes on, between which others have their turn.
    """
    # Of the node that came last at each depth: its child, if it has one only.
    child: list[int] = []
    for place, depth in enumerate(depths):
        if not place % PIECE:
            yield place
        if not depth:
            child = [-1]
            continue
        del child[depth + 1 :]
        if depth == len(child):
            child.append(-1)
        child[depth] = -1
        if child[depth - 1] < 0:
            child[depth - 1] = place
            alone[place] = True
        else:
            alone[child[depth - 1]] = False
