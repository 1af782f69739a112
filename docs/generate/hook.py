"""Called by mkdocs: adds the pages that are made of the code, of recipes, of results and of the files at the top."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import commands
import papers
import records
import settings
from checkout import ROOT

TOP = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md", "security.md": "SECURITY.md",
       "results.md": "results/README.md"}
LOADED = re.compile(r'<(?:script|img|link|iframe)[^>]+(?:src|href)="((?:https?:)?//[^"]+)')
SCHEMAS = ("record.schema.json", "study.schema.json")


def on_config(config: Any) -> Any:
    """The pages of all commands go into the navigation, where an empty list waits for them."""
    reference = next(entry["Reference"] for entry in config.nav if "Reference" in entry)
    place = next(entry for entry in reference if [] in entry.values())
    place["Options of each command"] = [{name: address} for name, address in commands.addresses().items()]
    return config


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    texts = {"reference/settings.md": settings.page(), "reference/records.md": records.page(),
             "papers/results.md": papers.page(), **commands.pages(),
             **{address: from_the_top(name) for address, name in TOP.items()}}
    for address, text in texts.items():
        files.append(File.generated(config, address, content=text))
    for address, file in {**papers.pictures(), **{f"reference/{name}": ROOT / "docs" / name
                                                   for name in SCHEMAS}}.items():
        files.append(File.generated(config, address, abs_src_path=str(file)))
    return files


def from_the_top(name: str) -> str:
    """A file of the repository's top as a page: its links into docs/pages are links between pages."""
    return re.sub(r"\]\((?:\.\./)?docs/pages/", "](", (ROOT / name).read_text(encoding="utf-8"))


def on_post_build(config: Any) -> None:
    """A reader's browser asks nobody else for anything: what a page loads lies beside it."""
    from mkdocs.exceptions import PluginError

    for page in Path(config.site_dir).rglob("*.html"):
        loaded = LOADED.findall(page.read_text(encoding="utf-8"))
        if loaded:
            raise PluginError(f"{page} loads {loaded[0]}")
