"""Small things that several tests need."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rnabench.data.batches import ResidentSource
from rnabench.data.images import ImageSet
from rnabench.data.sources import load_images
from rnabench.defence.defence import Defence
from rnabench.evaluation.engine import Evaluation, evaluate
from rnabench.model.classifier import RandomizedClassifier
from rnabench.model.normalizers import norm_factory
from rnabench.norm.layers import BatchGroupNorm
from rnabench.runtime.journal import Journal
from rnabench.runtime.progress import Progress, Silent
from rnabench.runtime.stopping import StopRequest
from rnabench.scoring.outcome import Outcome
from rnabench.settings.datasets import DataSettings
from rnabench.settings.evaluation import EvaluationSettings
from rnabench.settings.spaces import parse_space

RECIPES = Path(__file__).parents[1] / "recipes"


def recipe_files() -> list[Path]:
    """The recipes of this repository; a file without a name is the base of others."""
    return [file for file in sorted(RECIPES.glob("*.yaml")) if "\nname: " in file.read_text()]


def random_images(count: int = 12, classes: int = 10, size: int = 8) -> ImageSet:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    labels = rng.integers(0, classes, count)
    return ImageSet(tuple(map(str, range(classes))), images, labels, np.arange(count) + 100)


def visible(folder: Path) -> set[str]:
    """The names of what a user sees in a folder; locks are hidden, and stay."""
    return {file.name for file in folder.iterdir() if not file.name.startswith(".")}


def copied_run(run: Path, folder: Path, **model: str) -> Path:
    """A copy of a run's network whose description says otherwise."""
    said = json.loads((run / "run.json").read_text())
    said["model"] |= model
    (folder / "run.json").write_text(json.dumps(said))
    shutil.copy(run / "model.safetensors", folder)
    return folder


def lively_model(space: str = "bn+in", layers: int = 6, seed: int = 0) -> RandomizedClassifier:
    """A small untrained network (64 paths for two options) whose paths disagree and whose predictions vary."""
    generator = torch.Generator().manual_seed(seed)
    norm, blocks = norm_factory(parse_space(space)), []
    for layer in range(layers):
        conv = nn.Conv2d(8 if layer else 3, 8, 3, stride=2 if layer in (1, 3) else 1, padding=1, bias=False)
        nn.init.normal_(conv.weight, std=0.3, generator=generator)
        blocks += [conv, norm(8), nn.ReLU()]
    linear = nn.Linear(8, 10, bias=False)
    nn.init.normal_(linear.weight, generator=generator)
    model = RandomizedClassifier(nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear))
    for module in model.modules():
        if isinstance(module, BatchGroupNorm):
            module.running_mean.copy_(0.3 * torch.randn(module.running_mean.shape, generator=generator))
    return model.eval()


def trained_digits(space: str = "bn+in") -> RandomizedClassifier:
    """Two randomised layers that know the digits after seconds."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        norm = norm_factory(parse_space(space))
        network = RandomizedClassifier(nn.Sequential(
            nn.AvgPool2d(2), nn.Conv2d(3, 8, 3, padding=1, bias=False), norm(8), nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False), norm(16), nn.ReLU(),
            nn.Flatten(), nn.Linear(1024, 10)))
    data = load_images(DataSettings(), "train")
    images, labels = torch.from_numpy(data.images).permute(0, 3, 1, 2) / 255, torch.from_numpy(data.labels)
    optimizer, generator = torch.optim.Adam(network.parameters(), lr=0.01), torch.Generator().manual_seed(0)
    for _ in range(80):
        some = torch.randint(len(images), (64,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images[some]), labels[some]).backward()
        optimizer.step()
    return network.eval()


def run_evaluation(model: nn.Module, folder: Path | None = None, images: ImageSet | None = None,
                   stop: StopRequest | None = None, defence: Defence | None = None, **keys: object) -> list[Outcome]:
    """The table's outcomes; without the sanity checks' probes unless `sanity` asks for them."""
    return full_evaluation(model, folder, images, stop, defence, **{"sanity": False, **keys}).outcomes


def full_evaluation(model: nn.Module, folder: Path | None = None, images: ImageSet | None = None,
                    stop: StopRequest | None = None, defence: Defence | None = None, progress: Progress | None = None,
                    **keys: object) -> Evaluation:
    device = next(model.parameters(), torch.empty(0)).device
    source = ResidentSource(images or random_images(), device)
    settings = EvaluationSettings.model_validate({"attacks": ["pgd2"], "draws": 3, "batch_size": 4, **keys})
    journal = Journal(folder and folder / "progress", "digest")
    found = evaluate(model, defence or model, source, 10, settings, journal,  # type: ignore[arg-type]
                     progress or Silent(), StopRequest() if stop is None else stop)
    assert found is not None
    return found


class AfterSteps(StopRequest):
    """Asks to stop once it has been consulted so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    def __bool__(self) -> bool:
        self.left -= 1
        return self.left < 0


class AfterBatches(StopRequest):
    """Asks to stop once so many batches are in the journals of a folder."""

    def __init__(self, folder: Path, count: int) -> None:
        super().__init__()
        self.folder, self.count = folder, count

    def __bool__(self) -> bool:
        return sum(file.read_text().count("\n") - 1 for file in self.folder.glob("*.jsonl")) >= self.count


class Lambda(nn.Module):
    """A torch module from a function; it has a parameter so that it has a device."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function, self.anchor = function, nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)
