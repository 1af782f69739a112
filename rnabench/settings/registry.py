"""Things by name: those of this package, and those that other packages bring along.

A thing registers where it is declared, so that to add one is to add a file:

    @ATTACKS.register("fgsm")
    class FGSM(Attack): ...

The modules of its room are imported when a name is first asked for, and so are the modules that installed packages
name as entry points of the registry's group (`[project.entry-points."rnabench.attacks"]`, any name = "their.module").
"""

from __future__ import annotations

import importlib
import pkgutil
import threading
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Generic, TypeVar

from rnabench.errors import InvalidValue, RnabenchError, one_of

T = TypeVar("T")
Registered = TypeVar("Registered")
_loading = threading.RLock()  # one for all registries: two that ask each other would stand still


class Registry(Generic[T]):
    """`what` is what error lines call a thing, `room` the package whose modules register this package's own, `group`
    the group of entry points of other packages' modules that register theirs."""

    def __init__(self, what: str, room: str, group: str) -> None:
        self.what, self.room, self.group = what, room, group
        self._things: dict[str, T] = {}
        self._homes: dict[str, str] = {}
        self._state = "not loaded"

    def register(self, name: str) -> Callable[[Registered], Registered]:
        """Decorates a thing. Raises RnabenchError for a name that is taken."""
        def add(thing: Registered) -> Registered:
            self.add(name, thing)  # type: ignore[arg-type]
            return thing
        return add

    def add(self, name: str, thing: T, declared: object = None) -> None:
        """The same for a thing that is no function or class; `declared` is the one that it was made from, if any.
        Raises RnabenchError for a name that is taken."""
        home = _home(thing if declared is None else declared)
        taken = self._homes.setdefault(name, home)
        if taken != home:  # but a module that is loaded anew is no second thing
            raise RnabenchError(f"{self.what}: {name!r} is registered twice, by {taken} and {home}; "
                                "expected every name once")
        self._things[name] = thing

    def get(self, name: str) -> T:
        """The thing of that name. Raises InvalidValue with the nearest name."""
        self._load()
        if name not in self._things:
            raise InvalidValue(self.what, name, one_of(sorted(self._things)), self._things)
        return self._things[name]

    def items(self) -> list[tuple[str, T]]:
        """Names and things, by name."""
        self._load()
        return sorted(self._things.items())

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, _ in self.items()])

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._things

    def __getitem__(self, name: str) -> T:
        return self.get(name)

    def _load(self) -> None:
        """Import whatever registers, while other threads wait. A module that asks for a name while it is imported sees
        what is there by then."""
        if self._state == "loaded":
            return
        with _loading:
            if self._state == "not loaded":
                self._import_all()

    def _import_all(self) -> None:
        self._state = "loading"
        try:
            room = importlib.import_module(self.room)
            for module in pkgutil.iter_modules(room.__path__, f"{self.room}."):
                importlib.import_module(module.name)
            for entry in metadata.entry_points(group=self.group):
                try:
                    importlib.import_module(entry.module)
                except Exception as error:  # anybody's module, whose fault must not look like ours
                    raise RnabenchError(f"{self.what}: the package that brings {entry.value!r} cannot be imported "
                                        f"({type(error).__name__}: {error}); expected a module that registers, or that "
                                        "the package is uninstalled") from error
        except BaseException:
            self._state = "not loaded"
            raise
        self._state = "loaded"


def _home(thing: object) -> str:
    """Where a thing is declared."""
    return f"{getattr(thing, '__module__', type(thing).__module__)}.{getattr(thing, '__qualname__', type(thing))}"
