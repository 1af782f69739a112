"""Things by name: the room's own and other packages', each name once."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from rnabench.errors import InvalidValue, RnabenchError
from rnabench.settings.registry import Registry

ROOM = '''
from rnabench.settings.registry import Registry
THINGS = Registry("thing", "room_of_things.inside", "test.things")
'''
INSIDE = '''
from room_of_things import THINGS
@THINGS.register("apple")
class Apple: pass
'''


@pytest.fixture
def things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[object]:
    package = tmp_path / "room_of_things"
    (package / "inside").mkdir(parents=True)
    (package / "__init__.py").write_text(ROOM)
    (package / "inside" / "__init__.py").write_text("")
    (package / "inside" / "apple.py").write_text(INSIDE)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("room_of_things")]:
        monkeypatch.delitem(sys.modules, name)
    import room_of_things  # type: ignore[import-not-found]

    found: Registry[object] = room_of_things.THINGS
    return found


def test_the_modules_of_the_room_are_found_when_a_name_is_asked_for(things: Registry[object]) -> None:
    assert "room_of_things.inside.apple" not in sys.modules
    assert list(things) == ["apple"]
    assert things.get("apple") is sys.modules["room_of_things.inside.apple"].Apple


def test_an_unknown_name_is_told_with_the_nearest(things: Registry[object]) -> None:
    with pytest.raises(InvalidValue, match="thing: 'aple' is not valid; expected one of apple; did you mean 'apple'"):
        things.get("aple")


def test_no_name_twice(things: Registry[object]) -> None:
    assert "apple" in things
    with pytest.raises(RnabenchError, match=r"'apple' is registered twice, by room_of_things.*Apple and "):
        things.add("apple", object())


def test_things_of_one_kind_are_told_apart_by_what_declares_them(things: Registry[object]) -> None:
    def builder() -> None: ...
    def another() -> None: ...

    things.add("plum", object(), builder)
    things.add("plum", object(), builder)  # its module loaded anew
    with pytest.raises(RnabenchError, match=r"'plum' is registered twice, by .*builder and .*another"):
        things.add("plum", object(), another)


def test_other_packages_join_by_entry_points(things: Registry[object], tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_pears.py").write_text(INSIDE.replace("apple", "pear").replace("Apple", "Pear"))
    entry = metadata.EntryPoint("any", "their_pears", "test.things")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [entry] if group == "test.things" else [])
    assert list(things) == ["apple", "pear"]


def test_a_package_that_cannot_be_imported_is_named(things: Registry[object], tmp_path: Path,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_fault.py").write_text("1 / 0")
    entry = metadata.EntryPoint("any", "their_fault", "test.things")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [entry])
    with pytest.raises(RnabenchError, match=r"'their_fault' cannot be imported .ZeroDivisionError"):
        list(things)


def test_a_registry_loads_nothing_by_itself() -> None:
    code = "import sys; import rnabench.settings.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
