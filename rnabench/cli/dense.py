"""`rnabench dense`: networks that classify pixels or boxes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from rnabench.cli import options as o
from rnabench.cli.answer import Answer

if TYPE_CHECKING:
    from rnabench.settings.dense import DenseSettings


def dense(
    networks: Annotated[list[str], typer.Argument(
        metavar="NAME=FILE...", help="Networks: torchvision's name (fcn_resnet50, lraspp_mobilenet_v3_large, "
                                     "fasterrcnn_resnet50_fpn, ...) and its weights, .safetensors or torchvision's own "
                                     ".pth.")],
    data_dir: Annotated[Path, o.option("Folder with images/, and masks/ (PNG of class numbers, 255: does not count) or "
                                       "boxes.json (COCO's instances).", o.DATA)],
    settings: DenseSettings,
    device: o.Device = "auto",
    resume: o.Resume = True,
    max_minutes: o.MaxMinutes = None,
    out: Annotated[Optional[Path], o.option("Folder of the results.  [default: runs/dense-<data>-<digest>]", o.RUN)
                   ] = None,
) -> Answer:
    """Attack segmentation and detection networks by Dense Adversary Generation, and show every network all changes.

    Writes dense.json (with what every image's attack did), .csv, .md, .png and .svg. Ctrl-C stops cleanly; the same
    command goes on.
    """
    from rnabench.cli.console import LiveProgress, console, show_table, stop_request
    from rnabench.jobs.dense import load_dense, run_dense
    from rnabench.report.dense import cells, findings, heading, tables, write_dense
    from rnabench.settings.file_names import shortened

    work = load_dense(networks, data_dir, settings, device)
    folder = out or Path("runs") / shortened(f"dense-{data_dir.name}-{work.identity}", work.identity)
    with stop_request(max_minutes) as stop, LiveProgress() as progress:
        record = run_dense(work, folder / "dense.json", progress, stop, resume)
    files = write_dense(record, folder / "dense")
    show = console()
    show.print(heading(record))
    for title, headings, lines in tables(record):
        show_table(title, headings, lines, text_columns=1)
    said = findings(record)
    for sentence in said:
        show.print(sentence)
    names = ["dense.json", *(file.name for file in files)]
    show.print(f"in {folder}: {', '.join(names)}")
    return {"title": heading(record), "rows": cells(record), "findings": said, "folder": folder, "files": names}
