"""The code blocks of the documentation, and what the mark behind a block's language says of how it is tested.

    ```sh               run, in order with the page's other blocks, in one folder of its own
    ```{.sh .parsed}    its command lines are judged by the program, every option and its value, and nothing is run
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "pages"
WRITTEN = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(PAGES.rglob("*.md"))]
FENCE = re.compile(r"^(?P<indent> *)```(?P<info>\S.*)\n(?P<text>(?:.*\n)*?)(?P=indent)```$", re.MULTILINE)
KINDS = {  # language, mark -> how it is tested
    ("sh", ""): "run in the page's folder",
    ("sh", "parsed"): "judged by the command line",
    ("sh", "installed"): "run where the package of tests/other_package is installed",
    ("python", ""): "run in the page's folder",
    ("python", "file"): "a file that other tests run",
    ("yaml", ""): "a recipe, under all its profiles",
    ("yaml", "part"): "a part of a recipe",
    ("yaml", "installed"): "a part of a recipe, where that package is installed",
    ("yaml", "workflow"): "what the action of this repository takes",
    ("toml", ""): "entry points of that package",
    ("text", ""): "what a program prints: no code",
}


@dataclass(frozen=True)
class Block:
    file: Path
    line: int
    language: str
    mark: str
    text: str

    @property
    def page(self) -> str:
        return str(self.file.relative_to(ROOT))

    @property
    def commands(self) -> list[str]:
        """The lines of a shell block, without comments that stand alone; a line may go on behind a backslash."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.startswith("#")]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(*kinds: tuple[str, str]) -> list[Block]:
    """All of these kinds, in the order in which pages have them."""
    found = []
    for file in WRITTEN:
        content = file.read_text(encoding="utf-8")
        for match in FENCE.finditer(content):
            language, _, mark = match["info"].strip("{}").lstrip(".").partition(" .")
            found.append(Block(file, content[: match.start()].count("\n") + 1, language, mark,
                               textwrap.dedent(match["text"])))
    return [block for block in found if not kinds or (block.language, block.mark) in kinds]
