"""`rnabench bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

from rnabench.cli import options as o


def bench(
    arch: o.Arch = "resnet18",
    width: o.Width = None,
    space: o.Space = "bn+in",
    steps: o.TrainSteps = 10,
    batch_size: o.BatchSize = 32,
    device: o.Device = "auto",
    precision: o.PrecisionOption = o.Precision.fp32,
    compile: o.Compile = False,
    seed: o.Seed = 0,
    repeats: Annotated[int, o.option("Rounds; each measures every case once, and the fastest counts.", o.RUN)] = 3,
    out: Annotated[Optional[Path], o.option("Also write bench.json and bench.md there.", o.RUN)] = None,
) -> None:
    """Measure images/s of the training step, PGD-20 and EOT on this machine, beside a textbook training step."""
    from rnabench.settings.base import from_options
    from rnabench.settings.training import TrainingSettings

    recipe = from_options(TrainingSettings, {"arch": arch, "width": width, "space": space, "steps": steps,
                                        "batch_size": batch_size, "precision": precision.value, "compile": compile,
                                        "seed": seed})

    from rnabench.cli.console import LiveProgress, show_table
    from rnabench.jobs.bench import measure
    from rnabench.report.bench import HEADINGS, display_rows, write_bench

    with LiveProgress() as progress:
        result = measure(recipe, repeats, device, progress)
    show_table(result["title"], HEADINGS, display_rows(result), text_columns=1)
    if out is not None:
        write_bench(result, out)
