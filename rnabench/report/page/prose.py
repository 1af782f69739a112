"""The little Markdown that result folders are written in, as HTML; everything else in the text is escaped."""

from __future__ import annotations

import re
from pathlib import Path

from markupsafe import Markup, escape

LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def inline(text: str) -> Markup:
    """`code`, **strong** and *emphasis*. Of a link only its words are kept: the page leads nowhere else."""
    parts = re.split(r"(`[^`]+`)", LINK.sub(r"\1", text))
    return Markup("").join(
        Markup("<code>{}</code>").format(part[1:-1]) if len(part) > 2 and part[0] == part[-1] == "`" else _marked(part)
        for part in parts)


def paragraphs(text: str) -> Markup:
    """Paragraphs and lists. Headings and tables are left out: the page has its own."""
    found = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = block.strip().splitlines()
        if not lines or lines[0].startswith(("#", "|", "![")):
            continue
        if lines[0].startswith(("- ", "* ")):
            items = re.split(r"\n[-*] ", "\n" + "\n".join(lines))[1:]
            points = Markup("").join(Markup("<li>{}</li>").format(inline(" ".join(item.split()))) for item in items)
            found.append(Markup("<ul>{}</ul>").format(points))
        else:
            found.append(Markup("<p>{}</p>").format(inline(" ".join(block.split()))))
    return Markup("\n").join(found)


def first_heading(file: Path) -> str | None:
    """The first `# ` heading of a Markdown file, if there is one."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    return next((line[2:].strip() for line in lines if line.startswith("# ")), None)


def _marked(text: str) -> Markup:
    escaped = str(escape(text))
    strong = re.sub(r"\*\*(\S(?:[^*]*\S)?)\*\*", r"<strong>\1</strong>", escaped)
    return Markup(re.sub(r"(?<![\w*])\*(\S(?:[^*]*\S)?)\*(?![\w*])", r"<em>\1</em>", strong))
