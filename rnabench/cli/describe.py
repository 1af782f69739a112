"""`rnabench describe`."""

from __future__ import annotations

from rnabench.cli import options as o


def describe(
    dataset: o.Dataset = "digits",
    arch: o.Arch = "resnet18",
    width: o.Width = None,
    space: o.Space = "bn+in",
    layer_based: o.LayerBased = False,
) -> None:
    """Show a network: its choice layers, their options, the number of paths, parameters, and clipped groups."""
    from rnabench.settings.base import from_options
    from rnabench.settings.datasets import DATASETS
    from rnabench.settings.training import TrainingSettings

    DATASETS.get(dataset)
    recipe = from_options(TrainingSettings, {"arch": arch, "width": width, "space": space, "layer_based": layer_based})

    from rnabench.cli.console import console, show_table
    from rnabench.jobs.describe import describe_network

    found = describe_network(recipe, dataset)
    show_table(found.title, ("layer", "channels", *found.columns), found.rows, text_columns=1)
    out = console()
    for line in found.lines:
        out.print(line, markup=False)
