"""Loops that can be left anywhere and gone on with, to the same bits: by default they are just loops.

    walk = Kept(candidate=start)
    for step in resumable(range(self.steps), walk):
        walk.candidate = ...

Whoever runs an attack may open a `Bookmark` around it, in the manner of `torch.no_grad()`. It then notes where every
loop stands and what its `state` held there. A bookmark with the same notes, opened around the same attack in another
process, lets the loops go on from there: what lies before a loop is run again, what a loop has done is not.

Loops may lie inside each other, and one behind the other. The notes are in the order in which the loops were begun:

    for restart in resumable(range(9), best)        restart 3, and `best` as it was when restart 3 began
        for step in resumable(range(100), walk)     over, and `walk` as it was then
        for draw in resumable(range(20), sums)      draw 7, and `sums` as they were when draw 7 began

When a loop comes to its next item, what was noted of the loops in its last one is forgotten. Sources of random numbers
have a position of their own, which `remember` puts into every note: when restart 3 is taken up again, it draws the
start that it drew before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import count
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

T = TypeVar("T")
Values = dict[str, Any]
"""By the names of an object's attributes: tensors, arrays, numbers, texts, None, lists and dicts of these; and of an
attribute that is an object, the Values of that."""


class Kept(SimpleNamespace):
    """What a loop carries from item to item, by name: `Kept(candidate=images, last=None)`."""


def resumable(items: Iterable[T], state: object, forget: bool = False) -> Iterator[T]:
    """The items. All that their loop carries from one to the next is in the attributes of `state` (see Values).

    A sequence is gone on with at the item where it was left. Any other iterable has to begin there by itself: it is
    asked for its first item when `state` is what it was. What a loop found is in the notes until the loop around it
    comes to its next item; with `forget`, for what is large and soon done again, no longer than it runs.
    """
    bookmark = _opened.get()
    if bookmark is None:
        yield from items
        return
    loop = bookmark.begin(state, forget)
    try:
        if not loop.is_over:
            left = iter(items[loop.first :] if isinstance(items, Sequence) else items)
            for number in count(loop.first):
                bookmark.note(loop, number)  # before the next item is asked for, which may draw random numbers
                try:
                    item = next(left)
                except StopIteration:
                    break
                yield item
    finally:  # also after a `break`
        bookmark.end(loop)


def remember(source: object, *attributes: str) -> None:
    """From now on these attributes of `source` are in every note: a source of random numbers says where it stands."""
    bookmark = _opened.get()
    if bookmark is not None:
        bookmark.remembered.append((source, attributes))


@dataclass
class Note:
    """Where a loop stood when it began an item, or that it is over, and the Values of its state and of all that was
    remembered. `place` says which loop it is: the how manieth inside the item of the loop around it, from the outermost
    on."""

    place: tuple[int, ...]
    item: int
    is_over: bool
    values: list[Values]


@dataclass(eq=False)
class _Loop:
    place: tuple[int, ...]
    state: object
    forget: bool
    remembered: int  # how much was remembered when it began
    first: int = 0
    is_over: bool = False
    inner: int = 0  # loops that were begun inside its item


class Bookmark:
    """The `notes` of the loops inside an `opened` block, which begin as those of another one if there are some.

    `on_item` is called when the notes are complete: whenever a loop has come to an item, but not before something was
    done that they had not. It may keep them, and it may raise.
    """

    def __init__(self, notes: Sequence[Note] = (), on_item: Callable[[], None] = lambda: None) -> None:
        self.notes: list[Note] = []
        self.on_item = on_item
        self.remembered: list[tuple[object, tuple[str, ...]]] = []
        self._ahead = list(notes)  # of loops that were not begun again yet
        self._loops = [_Loop((), None, True, 0)]
        self._moved = False

    def begin(self, state: object, forget: bool) -> _Loop:
        around = self._loops[-1]
        loop = _Loop((*around.place, around.inner), state, forget, len(self.remembered))
        around.inner += 1
        self._loops.append(loop)
        if self._ahead and self._ahead[0].place == loop.place:
            note, things = self._ahead.pop(0), self._things(loop)
            if [set(names) for _, names in things] != [set(values) for values in note.values]:
                self._ahead = []  # of another loop, as after an edit of it: this one is run from its beginning
                return loop
            for (thing, _), values in zip(things, note.values, strict=True):
                _restore(thing, values)
            loop.first, loop.is_over = note.item, note.is_over
            self.notes.append(note)
        return loop

    def note(self, loop: _Loop, item: int) -> None:
        loop.inner = 0
        if item == loop.first and self.notes and self.notes[-1].place == loop.place:
            return  # just restored
        self._moved |= item > loop.first
        self._forget(loop)
        self.notes.append(Note(loop.place, item, False, self._values(loop)))
        if self._moved and not self._ahead:
            self.on_item()

    def end(self, loop: _Loop) -> None:
        self._moved |= not loop.is_over
        self._forget(loop)
        if not loop.forget:
            self.notes.append(Note(loop.place, 0, True, self._values(loop)))
        if loop in self._loops:  # unless the loop around it was left before
            del self._loops[self._loops.index(loop) :]

    def _forget(self, loop: _Loop) -> None:
        """What was noted of the loop itself, and of all that its last item did."""
        depth = len(loop.place)
        self.notes = [note for note in self.notes if note.place[:depth] != loop.place]
        self._ahead = [note for note in self._ahead if note.place[:depth] != loop.place]
        del self.remembered[loop.remembered :]

    def _things(self, loop: _Loop) -> list[tuple[object, tuple[str, ...]]]:
        return [(loop.state, tuple(vars(loop.state))), *self.remembered[: loop.remembered]]

    def _values(self, loop: _Loop) -> list[Values]:
        return [{name: copied(getattr(thing, name)) for name in names} for thing, names in self._things(loop)]


_opened: ContextVar[Bookmark | None] = ContextVar("bookmark", default=None)


@contextmanager
def opened(bookmark: Bookmark) -> Iterator[None]:
    """Loops inside the block are those of this bookmark."""
    before = _opened.set(bookmark)
    try:
        yield
    finally:
        _opened.reset(before)


def copied(value: Any) -> Any:
    """A copy that no change in place reaches; of an object, its Values."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [copied(each) for each in value]
    return {name: copied(each) for name, each in (value if isinstance(value, dict) else vars(value)).items()}


def _restore(thing: object, values: Values) -> None:
    """Objects stay who they are: others may know them."""
    for name, value in values.items():
        now = getattr(thing, name)
        if isinstance(value, dict) and hasattr(now, "__dict__"):
            _restore(now, value)
        else:
            setattr(thing, name, copied(value))
