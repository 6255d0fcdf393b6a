"""Which worker does what: requests are dealt out in pieces, and dealt again where a worker is lost.

No cluster is needed here: a worker is a `Hand`, and what happens to it is told.

>>> from gapbench.records import Message
>>> ask = Request((Message("user", "1 + 1?"),), "plain", keys=(("a",), ("b",)), seeds=(1, 2))
>>> dealer, hand = Dealer([ask], depth=8), Hand()
>>> [(len(pieces), hand.load) for hand, pieces in dealer.deal([hand])]
[(1, 2)]
>>> dealer.lose(hand, "its process died")  # nothing to give up yet: both are dealt again
[]
>>> dealer.done
False
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from gapbench.engines.base import Key, Request, Result
from gapbench.records import error_status

BLOCK = 128
"""Generations that go to one worker before another's turn: neighbours share prefixes, which an engine computes once."""

TRIES = 3
"""Workers that a request may cost."""


@dataclass(eq=False, slots=True)
class Piece:
    """A request, or a part of one.

    Attributes
    ----------
    losses
        Workers that were lost while they held it.
    """

    request: Request
    losses: int = 0


@dataclass(eq=False)
class Hand:
    """What one worker has been given and has not finished.

    Attributes
    ----------
    alone
        It is given nothing beside the one piece that it holds.
    spent
        It had nothing left to hand back when it was last asked.
    """

    held: dict[Key, Piece] = field(default_factory=dict)
    alone: bool = False
    spent: bool = False

    @property
    def load(self) -> int:
        """Generations that are held."""
        return len(self.held)


H = TypeVar("H", bound=Hand)


class Dealer:
    """Deals one run's requests.

    A request whose worker was lost is dealt again among others. After a second loss it goes to a worker that holds
    nothing else, so that the third loss, if there is one, is its own fault: it becomes an error.

    Parameters
    ----------
    requests
        As an engine is given them; None means that there is none at the moment.
    depth
        Generations that a worker holds at most, to within one block.
    """

    def __init__(self, requests: Iterable[Request | None], depth: int) -> None:
        self._requests = iter(requests)
        self._depth = depth
        self._again: deque[Piece] = deque()
        self._alone: deque[Piece] = deque()
        self._exhausted = self._paused = False
        self.held = 0

    @property
    def done(self) -> bool:
        """Whether every request that there was is answered."""
        return self._exhausted and not (self.held or self._again or self._alone)

    def deal(self, hands: Sequence[H]) -> Iterator[tuple[H, list[Piece]]]:
        """Fill the hands, the emptiest first, and say who was given what."""
        self._paused = False
        for hand in hands:
            if self._alone and not hand.held:
                hand.alone = True
                yield hand, self._give(hand, [self._alone.popleft()])
        taking = [hand for hand in hands if not hand.alone]
        if self._alone and taking and len(taking) == len(hands):
            taking.remove(min(taking, key=lambda hand: hand.load))  # it runs empty for what must be alone
        while taking:
            hand = min(taking, key=lambda hand: hand.load)
            pieces = self._block(min(BLOCK, self._depth - hand.load))
            if not pieces:
                return
            yield hand, self._give(hand, pieces)

    def finish(self, hand: Hand, results: Sequence[Result]) -> list[Result]:
        """Take the results of a hand; those that it does not hold are dropped."""
        kept = [result for result in results if hand.held.pop(result.key, None) is not None]
        self.held -= len(kept)
        if not hand.held:
            hand.alone = False
        return kept

    def lose(self, hand: Hand, reason: str) -> list[Result]:
        """Empty the hand of a lost worker, and give the errors of what has cost too many workers."""
        left: defaultdict[Piece, list[Key]] = defaultdict(list)
        for key, piece in hand.held.items():
            left[piece].append(key)
        self.held -= hand.load
        hand.held, hand.alone, hand.spent = {}, False, False
        errors = []
        for piece, keys in left.items():
            again = Piece(_only(piece.request, keys), piece.losses + 1)
            if again.losses >= TRIES:
                status = error_status(f"worker died {TRIES} times at this request ({reason})")
                errors += [Result(key, "", None, 0, None, status) for key in keys]
            elif again.losses == TRIES - 1:
                self._alone.append(again)
            else:
                self._again.append(again)
        return errors

    def fullest(self, hands: Sequence[H]) -> H | None:
        """Who is to hand back some of its work, if somebody is idle and there is nothing else to do."""
        if self._again or self._alone or all(hand.held for hand in hands):
            return None
        able = [hand for hand in hands if not (hand.alone or hand.spent) and hand.load > 1]
        return max(able, key=lambda hand: hand.load, default=None)

    def take_back(self, hand: Hand, keys: Collection[Key]) -> None:
        """Deal the pieces with these first keys again; `hand` has not begun them."""
        back = [hand.held[key] for key in keys if key in hand.held]
        hand.spent = not back
        for piece in back:
            for key in piece.request.keys:
                del hand.held[key]
            self.held -= len(piece.request.keys)
        self._again.extend(back)

    def _give(self, hand: Hand, pieces: list[Piece]) -> list[Piece]:
        for piece in pieces:
            hand.held.update(dict.fromkeys(piece.request.keys, piece))
            self.held += len(piece.request.keys)
        hand.spent = False
        return pieces

    def _block(self, room: int) -> list[Piece]:
        pieces: list[Piece] = []
        while room > 0:
            if not self._again and not self._pull():
                break
            piece = self._again.popleft()
            pieces.append(piece)
            room -= len(piece.request.keys)
        return pieces

    def _pull(self) -> bool:
        """Queue the pieces of the next request; False where there is none, for now or for good."""
        if self._paused or self._exhausted:
            return False
        try:
            request = next(self._requests)
        except StopIteration:
            self._exhausted = True
            return False
        if request is None:
            self._paused = True
            return False
        for start in range(0, len(request.keys), BLOCK):
            keys = request.keys[start : start + BLOCK]
            whole = len(keys) == len(request.keys)
            self._again.append(Piece(request if whole else _only(request, keys)))
        return True


def _only(request: Request, keys: Sequence[Key]) -> Request:
    """The part of a request that has these keys."""
    if len(keys) == len(request.keys):
        return request
    seeds = dict(zip(request.keys, request.seeds, strict=True))
    return replace(request, keys=tuple(keys), seeds=tuple(seeds[key] for key in keys))
