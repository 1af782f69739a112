"""The page as a browser shows it: nothing wider than a phone or a screen, no message, sorted at a click, readable."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rnabench.report.page.leaderboard import NONE
from rnabench.report.page.render import write_page

RESULTS = Path(__file__).parents[2] / "results"
STYLE = Path(__file__).parents[2] / "rnabench" / "report" / "page" / "page.css"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (390, 1280)
LIMIT = 3_000_000  # bytes

# runs inside of the page: opens all that is folded, looks for what is wider, and sorts the leaderboard
PROBE = """<script>
addEventListener("load", () => {
  for (const each of document.querySelectorAll("details")) each.open = true;
  setTimeout(() => {
    const width = innerWidth, root = document.documentElement;
    const wider = [...document.querySelectorAll("main *")].filter(
      (each) => each.getBoundingClientRect().right > width + 1 && !each.closest(".scroll")
    ).map((each) => each.outerHTML.slice(0, 120));
    const table = document.querySelector(".leaderboard"), orders = [];
    const button = table.querySelectorAll("thead button")[1];
    for (let click = 0; click < 3; click++) {
      button.click();
      orders.push([button.parentElement.ariaSort, [...table.tBodies].map((body) => [...body.rows].slice(1).map(
        (row) => row.cells[1].firstChild.textContent))]);
    }
    const sortable = [...document.querySelectorAll("thead th")].every(
      (each) => each.ariaSort !== null && each.children.length === 1 && each.firstElementChild.type === "button");
    const heads = [...table.tBodies].every((body) => body.rows[0].cells[0].scope === "rowgroup");
    parent.postMessage({ width, scrolled: root.scrollWidth, wider, orders, heads, sortable,
      dark: matchMedia("(prefers-color-scheme: dark)").matches }, "*");
  }, 300);
});
</script></body>"""
HOST = """<script>addEventListener("message", (event) => {
  const said = document.createElement("pre");
  said.textContent = JSON.stringify(event.data);
  document.body.append(said);
});</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of folders with the longest names, the widest tables, several threat models, and figures."""
    file = tmp_path_factory.mktemp("some") / "page.html"
    names = ("table5-cpu", "robustnorm-random-cpu", "quickstart", "figure5-smoke", "crosscheck-digits-bn", "bench-cpu")
    write_page([RESULTS / name for name in names], file)
    return file


@pytest.mark.slow
def test_all_committed_results_fit_a_page_that_can_be_sent(tmp_path: Path) -> None:
    assert write_page([RESULTS], tmp_path / "page.html").bytes < LIMIT


@pytest.mark.skipif(BROWSER is None, reason="no browser here")
@pytest.mark.parametrize("dark", [False, True])
def test_no_overflow_no_message_and_a_click_sorts(page: Path, tmp_path: Path, dark: bool) -> None:
    (tmp_path / "page.html").write_text(page.read_text().replace("</body>", PROBE))
    frames = [f'<iframe src="page.html" style="width:{width}px;height:700px;border:0"></iframe>' for width in WIDTHS]
    (tmp_path / "host.html").write_text(f"<body>{HOST}{''.join(frames)}</body>")
    seen = subprocess.run(
        [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1400,1500",
         f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--virtual-time-budget=5000",
         f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--dump-dom", f"file://{tmp_path / 'host.html'}"],
        capture_output=True, text=True, timeout=300)
    found = re.findall("<pre>(.*?)</pre>", seen.stdout)
    said: list[dict[str, Any]] = [json.loads(html.unescape(each)) for each in found]
    assert sorted(each["width"] for each in said) == list(WIDTHS), seen.stderr[-2000:]
    assert not [line for line in seen.stderr.splitlines() if "CONSOLE" in line]
    for each in said:
        assert each["dark"] is dark
        assert each["scrolled"] <= each["width"]
        assert not each["wider"]
        assert each["heads"], "the heading of a group stays its first row"
        assert each["sortable"]
        first, second, third = each["orders"]
        assert [order for order, _ in each["orders"]] == ["descending", "ascending", "none"]
        for down, up, drawn in zip(first[1], second[1], third[1], strict=True):
            values = [float(cell.split()[0].rstrip("!")) for cell in down if cell.strip() != NONE]
            assert values == sorted(values, reverse=True)
            assert sorted(down) == sorted(up) == sorted(drawn)


def colours(theme: str) -> dict[str, tuple[float, float, float]]:
    """The named colours of a theme, as shares of red, green and blue."""
    light, dark = STYLE.read_text().split("@media (prefers-color-scheme: dark)")
    text = dark.split("}")[0] if theme == "dark" else light
    found = re.findall(r"--([\w-]+): #([0-9a-f]{6})", text)
    return {name: (int(code[:2], 16) / 255, int(code[2:4], 16) / 255, int(code[4:], 16) / 255) for name, code in found}


def luminance(colour: tuple[float, float, float]) -> float:
    """WCAG 2.2's relative luminance."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_told_from_what_is_behind_it(theme: str) -> None:
    """WCAG AA: a contrast of at least 4.5."""
    named = colours(theme)
    pairs = [(text, behind) for text in ("text", "quiet", "link", "fail") for behind in ("page", "card", "tint")]
    pairs += [(status, f"{status}-tint") for status in ("pass", "warn", "fail")]
    for text, behind in pairs:
        darker, lighter = sorted((luminance(named[text]), luminance(named[behind])))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, behind)
