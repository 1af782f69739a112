"""`rnabench rescore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from rnabench.cli import options as o
from rnabench.cli.answer import Answer


def rescore(
    images: Annotated[Path, typer.Argument(metavar="RECORD_OR_IMAGES", help="A record of `rnabench attack "
                                           "--keep-images`, or one of its files of images.")],
    data: o.Data,
    run: Annotated[Optional[Path], o.option("Run folder whose network predicts.  [default: the record's own network, "
                                            "found by its weights]", o.MODEL)] = None,
    model: o.Model = None,
    model_args: o.ModelArgs = None,
    model_weights: o.ModelWeights = None,
    runs: o.Runs = Path("runs"),
    draws: Annotated[Optional[int], o.option("Fresh path draws that score the images.  [default: as many as the "
                                             "record's]", o.ATTACK)] = None,
    seed: Annotated[Optional[int], o.option("Seed of these draws; the record's own gives its outcomes again, bit by "
                                            "bit.  [default: the record's plus 1]", o.RUN)] = None,
    device: o.Device = "auto",
    out: Annotated[Optional[Path], o.option("Also write rescored.csv and rescored.md to this folder.", o.RUN)] = None,
) -> Answer:
    """Score the adversarial images that a record kept on fresh draws, or on another network, beside its numbers.

    Checks first that the files are the record's (hashes), of the same data set, and within the threat model. Exit code
    1 if a number does not hold on the record's own network, by the tests of `rnabench check`; all cells together fail
    by chance 1 time in 20.
    """
    from rnabench.errors import InvalidValue
    from rnabench.settings.imported import Imported

    imported = Imported.if_asked(model, model_args, model_weights)
    if run is not None and model is not None:
        raise InvalidValue("--run", str(run), "either a run folder or --model package.module:factory")
    if draws is not None and not 1 <= draws <= 1000:
        raise InvalidValue("--draws", draws, "from 1 to 1000")
    if seed is not None and not 0 <= seed < 2**31:
        raise InvalidValue("--seed", seed, "from 0 to 2147483647")

    from rnabench.cli.console import LiveProgress, console, marked, show_table, stop_request
    from rnabench.jobs.rescore import rescore as run_rescore
    from rnabench.report.rescored import HEADINGS, TEXT_COLUMNS

    with stop_request(None) as stop, LiveProgress() as progress:
        found = run_rescore(images, run, imported, runs, data, draws, seed, device, progress, stop)
    if out is not None:
        found.write(out)
    show_table(found.heading, HEADINGS, found.display(), TEXT_COLUMNS)
    for line in found.reasons:
        console().print(line)
    if found.own:
        colour, verdict = ("bold red", "FAIL") if found.failed else ("green", "PASS")
        console().print(marked(verdict, colour, found.summary), soft_wrap=True)
    else:
        console().print(found.summary, soft_wrap=True)
    return {"failed": found.failed, "summary": found.summary, "model": found.record.label, "network": found.network,
            "own_network": found.own, "draws": found.draws, "seed": found.seed, "rows": found.rows}
