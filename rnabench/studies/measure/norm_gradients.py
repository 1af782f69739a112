"""Eq. 5 in a trained network: what each normalisation layer does to the gradient that comes back through it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rnabench.attack.losses import cross_entropy
from rnabench.data.batches import Batch
from rnabench.defence.foreign import Classifier
from rnabench.norm.choice import NormChoice
from rnabench.norm.layers import Norm, norm_layers
from rnabench.norm.statistics import EPS, sample_statistics, scale_shift
from rnabench.path.path import Path
from rnabench.path.space import PathSpace
from rnabench.settings.studies import Results
from rnabench.studies.measure.work import Arrays, Work


class LayerTerms(dict[str, Tensor]):
    """Float64 [N] each, summed over the layer's groups: `g` |g|^2; `scaled` gamma^2/sigma^2 |g|^2; `mean` and
    `projection`, the parts gamma^2/sigma^2 <1, g>^2/G and gamma^2/sigma^2 <g, Yhat>^2/G that a GN takes away (0 for a
    BGN); `measured`, the squared norm of the gradient behind the layer, by automatic differentiation.

    gamma is inside the group's vectors here, as it differs between channels; the layer's epsilon in sigma^2, which the
    paper leaves out, multiplies the projection by 2 - var/(var + eps). Then scaled - mean - projection = measured.

    Of any other normaliser: `scaled` is |scale g|^2, `mean` what the way through its centre takes away from that, and
    `projection` what the way through its factor does. An image's parts may be negative where statistics are of a batch,
    since the gradients of its batch mates come back to it too.
    """


def layer_terms(model: Classifier, path: Path, images: Tensor, labels: Tensor) -> dict[str, LayerTerms]:
    """The terms of every normalisation layer on a one-row path, by layer name, in the order of the forward pass."""
    layers = norm_layers(model)
    with _watched(layers) as seen:
        images = images.detach().requires_grad_()
        with torch.enable_grad():
            loss = cross_entropy(model.on(path)(images).float(), labels).sum()
            slopes = torch.autograd.grad(loss, [after for _, _, after in seen], retain_graph=True)
            found = {}
            for (name, before, after), slope in zip(seen, slopes, strict=True):
                (behind,) = torch.autograd.grad(after, before, slope, retain_graph=True)
                found[name] = _terms(layers[name].active, before.detach(), slope, behind)
    return {short_name(name): terms for name, terms in found.items()}


def layer_rows(label: str, model: Classifier, path: Path, work: Work) -> list[Results]:
    """Eq. 5 by layer: `gain`, the factor gamma^2/sigma^2 on the squared gradient; the shares of it that a GN takes
    away; `predicted`, what is left, and `measured`, the same by automatic differentiation. No rows of a network without
    normalisation layers."""
    if not norm_layers(model):
        return []
    names: list[str] = []

    def on_batch(batch: Batch, first: int) -> Arrays:
        terms = layer_terms(model, path, batch.images, batch.labels)
        names[:] = terms
        return {name: torch.stack([layer[name] for layer in terms.values()], 1).cpu().numpy()
                for name in ("g", "scaled", "mean", "projection", "measured")}
    terms_of_images = work(f"gradients in the layers of {label}", on_batch)
    if not names:  # all batches came from the journal
        batch = next(work.source.in_order(2))  # of one value alone there are no statistics
        names[:] = layer_terms(model, path, batch.images, batch.labels)
    chosen = model.space.describe(path) if isinstance(model.space, PathSpace) else {}
    options = {short_name(name): option for name, option in chosen.items()
               if isinstance(model.get_submodule(name), NormChoice)}
    rows = []
    for place, name in enumerate(names):
        total = {key: float(values[:, place].sum()) for key, values in terms_of_images.items()}
        scaled = total["scaled"] or math.nan
        rows.append({
            "layer": name, "option": options.get(name), "gain": total["scaled"] / (total["g"] or math.nan),
            "mean_share": total["mean"] / scaled, "projection_share": total["projection"] / scaled,
            "predicted": 1 - (total["mean"] + total["projection"]) / scaled, "measured": total["measured"] / scaled,
        })
    return rows


def _terms(norm: Norm, before: Tensor, slope: Tensor, behind: Tensor) -> LayerTerms:
    if norm.family is None or norm.mixes_batch:
        return _differentiated(norm, before, slope, behind)
    count, shape = len(before), (len(before), norm.groups, -1)
    g = slope.double()
    scaled = (g * norm.weight.detach().double().view(1, -1, 1, 1)).reshape(shape)
    y = before.double().reshape(shape)
    size = y.shape[2]
    if norm.needs:  # a GN
        var = y.var(2, correction=0)
        standard = (y - y.mean(2, keepdim=True)) / (var + EPS).sqrt()[:, :, None]
        mean = scaled.sum(2) ** 2 / size / (var + EPS)
        projection = (scaled * standard).sum(2) ** 2 / size / (var + EPS) * (2 - var / (var + EPS))
    else:
        running: Tensor = norm.get_buffer("running_var")
        var = running.double().expand(count, -1)
        mean = projection = torch.zeros_like(var)
    return LayerTerms(
        g=g.flatten(1).square().sum(1),
        scaled=(scaled.square().sum(2) / (var + EPS)).sum(1),
        mean=mean.sum(1), projection=projection.sum(1),
        measured=_squared(behind),
    )


def _differentiated(norm: Norm, before: Tensor, slope: Tensor, behind: Tensor) -> LayerTerms:
    """The terms by what comes back with centre and factor held, with the factor held, and with neither."""
    x, g = before.double().requires_grad_(), slope.double()
    lengths = []
    with torch.enable_grad():
        centre, factor = norm.standardization(norm.group_statistics(sample_statistics(x, norm.needs)))
        for pair in ((centre.detach(), factor.detach()), (centre, factor.detach()), (centre, factor)):
            after = scale_shift(x, *norm.scale_and_shift(*pair))
            lengths.append(_squared(*torch.autograd.grad(after, x, g, retain_graph=True)))
    scaled, without_centre, left = lengths
    return LayerTerms(g=_squared(g), scaled=scaled, mean=scaled - without_centre, projection=without_centre - left,
                      measured=_squared(behind))


def _squared(slope: Tensor) -> Tensor:
    """Squared norm of each image's part, in float64."""
    return slope.double().flatten(1).square().sum(1)


Seen = list[tuple[str, Tensor, Tensor]]


@contextmanager
def _watched(layers: Mapping[str, Norm]) -> Iterator[Seen]:
    """Collects (name, input, output) of every one of the normalisers that is run inside the block."""
    seen: Seen = []

    def keep(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            seen.append((name, inputs[0], output))
            return output.clone()  # what follows may work in place (ReLU), and the output would then be that
        return hook
    handles = [layer.register_forward_hook(keep(name)) for name, layer in layers.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def short_name(name: str) -> str:
    """Without the network's outer names and the option's number."""
    parts = [part for part in name.split(".") if part != "network"]
    if "options" in parts:
        parts = parts[: parts.index("options")]
    return ".".join(parts)
