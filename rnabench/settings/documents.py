"""JSON and YAML as plain values, read within bounds: whatever a file holds, reading it ends soon and in little memory.

All such files that users hand over are read here. What is refused would stop the program later, in the midst of its
work: nesting that recursion cannot follow, aliases that unfold a kilobyte of YAML into gigabytes, numbers that no
machine type holds, and halves of characters, which cannot be written again.
"""

from __future__ import annotations

import json
import math
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rnabench.errors import RnabenchError

if TYPE_CHECKING:
    import yaml


class Bounds(NamedTuple):
    """The most bytes of a file, and the most values in it (keys, numbers, texts, lists, ...)."""

    bytes: int
    values: int


OF_JSON = Bounds(64 << 20, 2_000_000)  # a study of 10,000 images takes some megabytes
OF_YAML = Bounds(256 << 10, 20_000)  # written by hand, and read slowly
DEEPEST = 50  # lists and mappings inside each other
LARGEST = 1 << 63  # integers are below
LONGEST = 10_000  # characters of one value in YAML


class Unreadable(RnabenchError):
    """A file or a text that is not read; the message is the reason, in a few words."""


def read_json(file: Path, bounds: Bounds = OF_JSON) -> Any:
    """The value in a JSON file; every number in it is finite. Raises Unreadable."""
    text = _text(file, bounds)
    if sum(map(text.count, ",[{")) > bounds.values:  # at least as many as there are values, but for the first
        raise Unreadable(f"more than {bounds.values:,} values")
    try:
        value = json.loads(text)
    except RecursionError:
        raise Unreadable(f"nested more than {DEEPEST} deep") from None
    except ValueError as error:  # also an integer of too many digits
        raise Unreadable(f"not JSON: {error}") from None
    _check(value, finite=True)
    return value


def read_yaml(file: Path) -> Any:
    """The value in a YAML file. Raises Unreadable."""
    return parse_yaml(_text(file, OF_YAML))


def parse_yaml(text: str) -> Any:
    """The value that a YAML text says, of the standard kinds alone. Raises Unreadable, also for a key that stands
    twice: the first would be lost in silence."""
    import yaml

    class Loader(yaml.SafeLoader):
        def __init__(self, stream: str) -> None:
            super().__init__(stream)
            self.depth = self.count = 0
            self.sizes: dict[yaml.Node, int] = {}  # values in each node, those behind aliases counted every time

        def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
            is_alias, before = self.check_event(yaml.AliasEvent), self.count
            self.depth += 1
            if self.depth > DEEPEST:
                raise Unreadable(f"nested more than {DEEPEST} deep")
            node = super().compose_node(parent, index)
            self.depth -= 1
            if node is None:
                return None
            if is_alias and node not in self.sizes:  # it is being composed: the alias stands inside of it
                raise Unreadable("an alias stands in what it refers to")
            self.count += self.sizes[node] if is_alias else 1
            if self.count > OF_YAML.values:
                raise Unreadable(f"more than {OF_YAML.values:,} values")
            if not is_alias:
                self.sizes[node] = self.count - before
            if isinstance(node, yaml.ScalarNode) and len(node.value) > LONGEST:
                raise Unreadable(f"a value of more than {LONGEST:,} characters")
            return node

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            _check_keys(node)
            return super().construct_mapping(node, deep)

    try:
        value = yaml.load(text, Loader)
    except RecursionError:
        raise Unreadable(f"nested more than {DEEPEST} deep") from None
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
        # not only YAMLError: there is no such day as 2020-13-45, and no `!!bool x`
        raise Unreadable(f"not YAML: {' '.join(str(error).split())}") from None
    _check(value, finite=False)
    return value


def _check_keys(node: yaml.MappingNode) -> None:
    import yaml

    seen: set[str] = set()
    for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
        if key.value in seen:
            raise yaml.YAMLError(f"{key.value!r} stands twice, the second time in line {key.start_mark.line + 1}")
        seen.add(key.value)


def _text(file: Path, bounds: Bounds) -> str:
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # a pipe would be waited for
            raise Unreadable("not a file")
        with file.open("rb") as opened:
            content = opened.read(bounds.bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise Unreadable(getattr(error, "strerror", None) or str(error)) from None
    if len(content) > bounds.bytes:
        raise Unreadable(f"larger than {bounds.bytes >> 10:,} KiB")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Unreadable("not text") from None


def _check(value: Any, finite: bool) -> None:
    """Level by level, so that no nesting is too deep to be seen. Raises Unreadable."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise Unreadable(f"nested more than {DEEPEST} deep")
        inner: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inner += [*each.keys(), *each.values()]
            elif isinstance(each, list | tuple | set):
                inner += each
            elif isinstance(each, str):
                if not each.isascii() and any("\ud800" <= letter <= "\udfff" for letter in each):
                    raise Unreadable("a text holds half of a character")
            elif isinstance(each, int) and not -LARGEST <= each < LARGEST:
                raise Unreadable("an integer is too large")
            elif finite and isinstance(each, float) and not math.isfinite(each):
                raise Unreadable("a number is not finite")
        level = inner
