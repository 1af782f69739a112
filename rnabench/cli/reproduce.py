"""`rnabench reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from rnabench.cli import options as o
from rnabench.cli.answer import Answer

if TYPE_CHECKING:
    from rnabench.jobs.cluster import Cluster
    from rnabench.jobs.reproduce import Place
    from rnabench.report.record import Record
    from rnabench.settings.recipe import Recipe

Jobs = Annotated[int, o.option("Processes that train, attack and study side by side, each with its share of the CPU "
                               "threads (training with other threads rounds differently).", o.RUN)]
Runs = Annotated[Path, o.option("Where trained networks are kept, and found again.", o.RUN)]
Out = Annotated[Path, o.option("Results go to <out>/<recipe name>[-<profile>].", o.RUN)]


def reproduce(
    recipe: Annotated[Path, typer.Argument(help="A YAML file, or a name that `rnabench recipes` lists.")],
    data: Annotated[dict[str, Any], o.data("Data set to train and attack on.", "the recipe's")],
    profile: Annotated[Optional[str], o.option("At what scale, for recipes that have profiles: paper, short, cpu, "
                                               "smoke.  [default: short with CUDA, else cpu]", o.RUN)] = None,
    plan: Annotated[bool, o.option("Say what would be done, what is there already and about how long it takes; run "
                                   "nothing.", o.RUN, "--plan")] = False,
    only: Annotated[o.Texts, o.option("Some of it, with what that needs, comma-separated: `table`, names of figures, "
                                      "and of the table model=NAME and attack=NAME; or ids of cells as `--plan --json` "
                                      "lists them, also as @FILE, a JSON list of them.  [default: all]", o.RUN)] = None,
    jobs: Jobs = 1,
    cluster: Annotated[Optional[str], o.option("Have it done by workers that Slurm starts (slurm), or on this machine "
                                               "(local).  [default: neither]", o.RUN)] = None,
    workers: Annotated[Optional[int], o.option("How many, with --cluster.  [default: 1]", o.RUN)] = None,
    gpus_per_worker: Annotated[Optional[int], o.option("GPUs of each, with --cluster.  [default: slurm 1; local those "
                                                       "that there are, by turns]", o.RUN)] = None,
    minutes: Annotated[Optional[int], o.option("After how many each is requeued, with --cluster.  [default: slurm 240; "
                                               "local no limit]", o.RUN)] = None,
    max_minutes: o.MaxMinutes = None,
    log: o.Log = None,
    device: o.Device = "auto",
    refresh: o.Refresh = False,
    keep_images: Annotated[bool, o.option("Keep the adversarial images beside the records, for `rnabench rescore` (or "
                                          "`keep_images: true` under the recipe's `evaluate`).", o.RUN,
                                          "--keep-images")] = False,
    runs: Runs = Path("runs"),
    out: Out = Path("results"),
) -> Answer:
    """Train, attack and study everything that a recipe names, and write its table and figures.

    What is trained or attacked already is not done again; what older algorithms made is kept and marked stale, or made
    anew with --refresh. Ctrl-C stops cleanly; the same command goes on. Several processes, on machines that share the
    folders, may run the same command: each takes what no other is at.
    """
    from rnabench.errors import InvalidValue
    from rnabench.runtime.watch import check_loggers
    from rnabench.settings.base import from_options
    from rnabench.settings.datasets import DataSettings
    from rnabench.settings.recipe_loading import load_recipe
    from rnabench.settings.recipe_source import profiles
    from rnabench.settings.shipped import find

    check_loggers(log or ())
    recipe = find(recipe)
    if jobs < 1:
        raise InvalidValue("--jobs", jobs, "at least 1")
    if "dataset" in data:
        from_options(DataSettings, data)
    engine = _engine(cluster, workers, gpus_per_worker, minutes, device)
    if profile is None and (known := profiles(recipe)):
        from rnabench.runtime.device import find_device

        gpus = engine.has_gpus if engine else False
        wanted = "short" if gpus or find_device(device).type == "cuda" else "cpu"
        profile = wanted if wanted in known else None
    loaded = load_recipe(recipe, profile, data)
    if keep_images:
        loaded = loaded.model_copy(update={"evaluate": loaded.evaluate.model_copy(update={"keep_images": True})})

    from rnabench.cli.console import LiveProgress, stop_request
    from rnabench.jobs.plan import announce
    from rnabench.jobs.recipe_cells import choose
    from rnabench.jobs.reproduce import Place
    from rnabench.jobs.reproduce import reproduce as run_recipe

    chosen = loaded if only is None else choose(loaded, ",".join(only), device)  # a file's name may have commas
    place = Place(runs, out / loaded.folder, device, refresh, log or ())
    if plan:
        return _show_plan(loaded, chosen, place, jobs * (workers or 1))
    with stop_request(max_minutes) as stop, LiveProgress() as progress:
        if loaded.profile is not None:
            progress.line(f"profile {loaded.profile}: {loaded.summary or loaded.title}")
        announce(chosen, place, jobs * (workers or 1), progress, stop)
        found = run_recipe(loaded, chosen, place, progress, stop, jobs, engine)
    return _finish(loaded, chosen, place, found.table, found.figures, found.missing)


def _engine(cluster: str | None, workers: int | None, gpus_per_worker: int | None, minutes: int | None, device: str
            ) -> Cluster | None:
    """Who does it, if not this process. Raises InvalidValue."""
    from rnabench.errors import InvalidValue

    if cluster is None:
        for name, value in (("workers", workers), ("gpus-per-worker", gpus_per_worker), ("minutes", minutes)):
            if value is not None:
                raise InvalidValue(f"--{name}", value, "--cluster slurm or --cluster local with it")
        return None
    from rnabench.jobs.cluster import Cluster

    return Cluster(cluster, 1 if workers is None else workers, gpus_per_worker, minutes, device)


def quickstart(
    jobs: Jobs = 1,
    max_minutes: o.MaxMinutes = None,
    device: o.Device = "auto",
    runs: Runs = Path("runs"),
    out: Out = Path("results"),
) -> Answer:
    """Train a plain and a randomised network on scanned digits (no download), attack both, and print a table.

    The same as `rnabench reproduce quickstart`; minutes on two CPU cores.
    """
    return reproduce(Path("quickstart"), {}, jobs=jobs, max_minutes=max_minutes, device=device, runs=runs, out=out)


def _finish(recipe: Recipe, chosen: Recipe, place: Place, table: dict[str, Record],
            figures: dict[str, dict[str, Any]], missing: tuple[str, ...]) -> Answer:
    """Write and show what there is; say what is missing."""
    from rnabench.cli.console import console
    from rnabench.cli.output import finish, finish_study, write_published

    written = None
    if table:
        written = finish(list(table.values()), place.folder, recipe.heading, recipe)
    elif recipe.published and not recipe.table:
        write_published(recipe, place.folder)
    drawn = {}
    for name, record in figures.items():
        title = recipe.figures[name].title + (f" (profile {recipe.profile})" if recipe.profile else "")
        drawn[name] = finish_study(record, place.folder / name, title, on_screen=False)
    if missing:
        console().print(f"done what was asked for; the table needs all attacks on {', '.join(missing)} as well: the "
                        "same command without --only does them")
    return {"recipe": recipe.name, "profile": recipe.profile, "runs": place.runs, "folder": place.folder,
            "table": written, "figures": drawn, "missing": missing}


def _show_plan(whole: Recipe, recipe: Recipe, place: Place, jobs: int) -> Answer:
    from rnabench.cli.console import console, show_table
    from rnabench.jobs.plan import forecast, left_in_words
    from rnabench.jobs.plan_document import plan_document
    from rnabench.runtime.progress import in_words

    pieces = forecast(recipe, place)
    rows = [(piece.kind, piece.name, piece.state, in_words(piece.seconds) if piece.seconds else "-")
            for piece in pieces]
    scale = f": {recipe.summary}" if recipe.summary else ""
    show_table(f"{recipe.heading}{scale}", ("", "what", "state", "about"), rows, text_columns=3)
    for piece in pieces:
        if piece.note:
            console().print(piece.note)
    console().print(f"{left_in_words(pieces, jobs)}. Networks in {place.runs}, results in {place.folder}.")
    if again := sum(piece.seconds for piece in pieces if piece.stale):
        console().print(f"stale: kept without --refresh, which takes about {in_words(again)} more.")
    return plan_document(whole, recipe, place, pieces)
