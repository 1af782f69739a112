"""The smoothness study: distributions along the gradient, loss surfaces, eq. 5 by layer (Figure 2, eqs. 5-6)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from rnabench.data.batches import Batch
from rnabench.errors import InvalidValue
from rnabench.model.classifier import RandomizedClassifier
from rnabench.path.path import Path
from rnabench.seeding import stream
from rnabench.settings.studies import SmoothnessSettings
from rnabench.studies.norm_gradients import layer_terms, option_at, short_name
from rnabench.studies.results import Results, longest, short, spread
from rnabench.studies.smoothness import along_gradient, mean_loss, path_losses, surface
from rnabench.studies.subject import subjects
from rnabench.studies.work import Arrays, OnBatch, Work

Networks = Sequence[tuple[str, RandomizedClassifier]]


def smoothness(networks: Networks, keys: SmoothnessSettings, classes: int, work: Work) -> Results:
    first = next(work.source.in_order(max(1, keys.surfaces)))
    radius = keys.radius or longest(keys, first, keys.eps)
    if radius == 0:
        raise InvalidValue("--radius", radius, "a length above 0 (or --eps above 0)")
    lengths = [radius * (step + 1) / keys.lengths for step in range(keys.lengths)]
    found, surfaces = [], []
    for label, model, paths, single in _looked_at(networks, keys):
        measured = work(f"along the gradient of {label}", _along(model, paths, lengths))
        change = measured["losses"] - measured["loss"][:, None]
        found.append({
            "label": label, "paths": [str(path) for path in paths], "mean_over_paths": not single,
            "measures": {name: spread(values) | {"values": short(values)} for name, values in {
                **{name: measured[name] for name in ("loss", "gradient_norm", "curvature", "finite")},
                "change": change[:, -1]}.items()},
            "changes": [spread(change[:, step]) for step in range(keys.lengths)],
            "layers": _layers(label, model, paths[0], work) if single else None,
        })
        surfaces.append([_surface(label, model, paths, first.part(image, image + 1), radius, keys, work)
                         for image in range(min(keys.surfaces, len(first.indices)))])
    return {"subjects": found, "radius": radius, "lengths": lengths, "surfaces": [
        {"index": first.indices[image], "class": int(first.labels[image]), "losses": [each[image] for each in surfaces]}
        for image in range(min(keys.surfaces, len(first.indices)))]}


def _along(model: RandomizedClassifier, paths: list[Path], lengths: list[float]) -> OnBatch:
    def on_batch(batch: Batch, first: int) -> Arrays:
        measured = along_gradient(path_losses(model, paths, batch.labels), batch.images, lengths)
        return {name: value.double().cpu().numpy() for name, value in vars(measured).items()}
    return on_batch


def _looked_at(networks: Networks, keys: SmoothnessSettings
               ) -> list[tuple[str, RandomizedClassifier, list[Path], bool]]:
    """Fixed paths one by one, and each randomised network's mean over paths: (label, model, paths, one path)."""
    found = []
    for label, model in networks:
        if keys.paths != "deployed" or not model.space.is_random:
            found += [(subject.label, model, [subject.fixed()], True)
                      for subject in subjects([(label, model)], keys.paths, keys.seed)]
        if model.space.is_random:
            generator = stream(keys.seed, "mean over paths")
            paths = [model.space.sample(generator) for _ in range(keys.samples)]
            found.append((f"{label}: mean of {keys.samples} paths", model, paths, False))
    return found


def _layers(label: str, model: RandomizedClassifier, path: Path, work: Work) -> list[Results]:
    """Eq. 5 by layer: `gain`, the factor gamma^2/sigma^2 on the squared gradient; the shares of it that a GN takes
    away; `predicted`, what is left, and `measured`, the same by automatic differentiation."""
    names: list[str] = []

    def on_batch(batch: Batch, first: int) -> Arrays:
        terms = layer_terms(model, path, batch.images, batch.labels)
        names[:] = terms
        return {name: torch.stack([layer[name] for layer in terms.values()], 1).cpu().numpy()
                for name in ("g", "scaled", "mean", "projection", "measured")}
    found = work(f"gradients in the layers of {label}", on_batch)
    if not names:  # all batches came from the journal
        names[:] = layer_terms(model, path, *_one(work))
    options = dict(zip([short_name(name) for name in model.space.layers], option_at(model, path), strict=True))
    rows = []
    for place, name in enumerate(names):
        total = {key: float(values[:, place].sum()) for key, values in found.items()}
        scaled = total["scaled"] or math.nan
        rows.append({
            "layer": name, "option": options.get(name), "gain": total["scaled"] / (total["g"] or math.nan),
            "mean_share": total["mean"] / scaled, "projection_share": total["projection"] / scaled,
            "predicted": 1 - (total["mean"] + total["projection"]) / scaled, "measured": total["measured"] / scaled,
        })
    return rows


def _one(work: Work) -> tuple[torch.Tensor, torch.Tensor]:
    batch = next(work.source.in_order(1))
    return batch.images, batch.labels


def _surface(label: str, model: RandomizedClassifier, paths: list[Path], batch: Batch, radius: float,
             keys: SmoothnessSettings, work: Work) -> list[list[float]]:
    image, index = batch.images[0], batch.indices[0]
    noise = torch.randn(image.shape, generator=stream(keys.seed, "surface", index)).to(image)

    def compute() -> Arrays:
        def loss(images: torch.Tensor) -> torch.Tensor:
            return mean_loss(path_losses(model, paths, batch.labels.expand(len(images))))(images)
        return {"losses": surface(loss, image, radius, keys.points, noise).double().cpu().numpy()}
    losses = work.once(f"surface of {label} at image {index}", compute)["losses"]
    return [[float(f"{value:.6g}") for value in row] for row in losses]
