"""Every table and figure: its recipe, what the committed results of it are, how long they took, and what came out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from checkout import ROOT
from text import cell

from rnabench.runtime.progress import in_words
from rnabench.settings import shipped
from rnabench.settings.recipe_source import content, profiles

RESULTS = ROOT / "results"
ORDER = ("table", "figure", "robustnorm", "sors", "thesis", "random", "cifar10", "quickstart")  # how names begin
INTRODUCTION = """# What came out

A section per recipe: what it is, the command that makes it, and every set of results that lies in the repository, with
its table and what it says. Of a recipe without results nothing has been run and kept. Times are what the records say:
seconds of attacks and studies, added up over all processes, and the speed of training in the epoch that was kept.
"""


def page() -> str:
    said = paragraphs()
    parts = [INTRODUCTION]
    for name in sorted(shipped.names(), key=lambda name: [not name.startswith(each) for each in ORDER]):
        parts += section(shipped.folder() / f"{name}.yaml", said)
    told = "\n\n".join(parts)
    rest = [text for text in dict.fromkeys(said.values()) if text not in told]
    for folder in sorted(RESULTS.iterdir()):
        if folder.is_dir() and f"### {folder.name}\n" not in told and (found := shown(folder)):
            rest += [f"### {folder.name}", *found]
    return "\n\n".join([told, "## Of no recipe", *rest]) + "\n"


def paragraphs() -> dict[str, str]:
    """What results/README.md says of each folder, by its name."""
    text = (RESULTS / "README.md").read_text(encoding="utf-8").partition("## What they say")[2]
    pieces = re.split(r"\n\n(?=\*\*`)", text)
    return {name: piece.strip() for piece in pieces for name in re.findall(r"^\*\*`([^`]+)`", piece.strip())}


def section(file: Path, said: dict[str, str]) -> list[str]:
    recipe = content(file)
    name, known = str(recipe["name"]), profiles(file)
    comment = re.findall(r"^# ?(.*)$", file.read_text(encoding="utf-8").partition("\nname:")[0], re.MULTILINE)
    about = "\n".join(line for line in comment if not line.startswith("rnabench reproduce")).strip()
    scale = f" --profile {known[-2]}" if len(known) > 1 else ""
    parts = [f"## {file.stem}", f"*{cell(str(recipe['title']))}.* {cell(' '.join(about.split()))}",
             f"```{{.sh .parsed}}\nrnabench reproduce {file.stem}{scale}\n```"]
    folders = [folder for folder in (name, *(f"{name}-{profile}" for profile in known)) if (RESULTS / folder).is_dir()]
    if not folders:
        return [*parts, "No results are kept."]
    for folder in folders:
        parts += [f"### {folder}", f"Lies in `results/{folder}`; {took(RESULTS / folder)}."]
        parts += [said[folder]] if folder in said else []
        parts += shown(RESULTS / folder)
    return parts


def took(folder: Path) -> str:
    """How long its records say that it took."""
    attacks, studies, trainings = 0.0, 0.0, dict[str, tuple[str, float]]()
    for file in folder.glob("*.json"):
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if "study" in record:
            studies += record["seconds_of_last_call"]
            continue
        attacks += sum(result["seconds"] for result in record["results"])
        network = record["model"]
        speed = (network.get("selected") or {}).get("images_per_second")
        if speed and "recipe" in network:  # older records have none
            size = f"{network['recipe']['epochs']} epochs of {network['trained_on']['train_examples']:,} images"
            trainings[network["weights_sha256"]] = size, speed
    told = []
    for size in dict.fromkeys(size for size, _ in trainings.values()):
        speeds = sorted(speed for each, speed in trainings.values() if each == size)
        pace = " to ".join(dict.fromkeys(f"{speed:.0f}" for speed in (speeds[0], speeds[-1])))
        told.append(f"{len(speeds)} trainings of {size}, at {pace} images/s")
    told += [f"{words}: about {in_words(seconds)}" for seconds, words in (
        (attacks, "attacks"), (studies, "studies, each when it was last called")) if seconds]
    return "; ".join(told) or "no times are kept"


def shown(folder: Path) -> list[str]:
    """Its table, folded, and its figures."""
    parts = []
    for file in [file for file in (folder / "paper.md", folder / "table.md") if file.is_file()][:1]:
        text = file.read_text(encoding="utf-8").strip().partition("\n")[2].replace("<", "&lt;")
        parts.append(f'<details markdown="1"><summary>{file.name}</summary>\n\n{text}\n\n</details>')
    figures = sorted(folder.glob("*.png"))
    if figures:
        images = "\n\n".join(f"![{file.stem} of {folder.name}](results/{folder.name}/{file.name})" for file in figures)
        parts.append(f'<details markdown="1"><summary>{len(figures)} figures</summary>\n\n{images}\n\n</details>')
    return parts


def pictures() -> dict[str, Path]:
    """The figures that the page shows, by where they are copied to."""
    return {f"papers/results/{file.parent.name}/{file.name}": file for file in sorted(RESULTS.glob("*/*.png"))}
