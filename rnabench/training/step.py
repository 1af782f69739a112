"""One step of training up to its gradients: draw, attack, loss; on any objective."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from rnabench.attack.attack import Uniform
from rnabench.attack.estimators import GRADIENT_COST, OnePath, OnPass, Watched, frozen_parameters, nobody
from rnabench.attack.gradient import PGD, TargetedPGD
from rnabench.attack.threat import Linf
from rnabench.data.batches import Batch
from rnabench.model.classifier import RandomizedClassifier, in_mode
from rnabench.model.smooth_gradient import smooth_gradient
from rnabench.norm.layers import frozen_statistics, statistics_from
from rnabench.path.path import Path
from rnabench.seeding import ExampleStreams
from rnabench.settings.training import OBJECTIVES, TrainingSettings
from rnabench.training.objective import Network, Objective


@dataclass(frozen=True)
class Drawn:
    """What is random in a step: the path that is trained, the one that is attacked, and the attack's start, on [0, 1)
    and of the images' shape (None where the objective attacks nothing); `others` are trained as well. `targets`, int64
    [N], are the classes that a targeted attack goes for."""

    trained: Path
    attacked: Path | None = None
    start: Tensor | None = None
    others: tuple[Path, ...] = ()
    targets: Tensor | None = None

    @classmethod
    def of(cls, trained: Tensor, attacked: Tensor | None = None, start: Tensor | None = None,
           targets: Tensor | None = None) -> Drawn:
        """The inverse of `tensors`."""
        first, *others = map(Path, trained.unbind())
        return cls(first, None if attacked is None else Path(attacked), start, tuple(others), targets)

    @property
    def all_trained(self) -> tuple[Path, ...]:
        return self.trained, *self.others

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The choices of the trained paths, int64 [P, R, L], and what belongs to the attack."""
        trained = torch.stack([path.choices for path in self.all_trained])
        if self.attacked is None or self.start is None:
            return (trained,)
        return trained, self.attacked.choices, self.start, *(() if self.targets is None else (self.targets,))


class TrainingStep:
    """Batch in, loss out, by the recipe's objective.

    Every draw is named by (seed, what, epoch, and the example or, for a batch's path, the step).
    """

    def __init__(self, model: RandomizedClassifier, recipe: TrainingSettings, teacher: Network | None = None,
                 classes: int = 0) -> None:
        """`teacher` is the recipe's; without it a step can attack, but has no loss. `classes` is how many there are;
        only a targeted attack asks."""
        self.model, self.recipe, self.classes = model, recipe, classes
        self.objective: Objective = OBJECTIVES[recipe.objective](model, recipe, teacher)
        self.on_pass: OnPass = nobody  # told of every pass of the inner attack

    def attack(self, epoch: int | None = None) -> tuple[PGD, Linf]:
        """The inner attack and its threat model; in the first `eps_warmup` epochs eps and step size grow to their full
        values."""
        recipe = self.recipe
        share = 1.0 if epoch is None else min(1.0, (epoch + 1) / (recipe.eps_warmup + 1))
        kind = PGD if recipe.target == "none" else TargetedPGD
        return kind(steps=recipe.steps, step_size=share * recipe.step), Linf(share * recipe.eps)

    def frozen(self, epoch: int) -> bool:
        """Whether it is one of the last epochs, which train with running statistics that stand still."""
        return epoch >= self.recipe.epochs - self.recipe.frozen_epochs

    def statistics(self, epoch: int) -> AbstractContextManager[None]:
        """What holds in the steps of an epoch, also while they attack: which statistics normalise."""
        return statistics_from(self.model, "running") if self.frozen(epoch) else nullcontext()

    def __call__(self, batch: Batch, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Mean loss (a scalar to call backward on) and the number of correct predictions, both on the device."""
        with self.statistics(epoch):
            return self.loss(batch.images, batch.labels, self.draw(batch, epoch, step), *self.attack(epoch))

    def draw(self, batch: Batch, epoch: int, step: int) -> Drawn:
        """What is random in step number `step` of an epoch, on this batch."""
        objective = self.objective
        attacked = self._path(("attack path",), batch, epoch, step) if objective.attacks else None
        trained = attacked if attacked is not None and objective.trains_attacked_path else self._path(
            ("update path",), batch, epoch, step)
        others = tuple(self._path(("update path", number), batch, epoch, step, other_than=trained)
                       for number in range(1, objective.paths))
        if attacked is None:
            return Drawn(trained, others=others)
        return Drawn(trained, attacked, self.start("attack", batch, epoch), others,
                     self.targets("attack", batch, epoch))

    def start(self, whose: str, batch: Batch, epoch: int = 0) -> Tensor:
        """Where an attack starts: a place in the ball for each pixel, [N, 3, H, W] in [0, 1), of which 0.5 is the image
        itself."""
        streams = self._streams(f"{whose} start", batch, epoch)
        noise = streams.uniform(*batch.images.shape[1:])
        if not self.recipe.clean_start:
            return noise
        clean = self._streams(f"{whose} clean start", batch, epoch).uniform() < self.recipe.clean_start
        return noise.masked_fill(clean.view(-1, 1, 1, 1), 0.5)

    def targets(self, whose: str, batch: Batch, epoch: int = 0) -> Tensor | None:
        """A wrong class for each image, uniform among all of them, int64 [N]; None without a targeted attack. Raises
        ValueError if the step does not know how many classes there are."""
        if self.recipe.target == "none":
            return None
        if self.classes < 2:
            raise ValueError("this step was made without a number of classes")
        further = 1 + self._streams(f"{whose} target", batch, epoch).below([self.classes - 1])[0, :, 0]
        return (batch.labels + further) % self.classes

    def _streams(self, what: str, batch: Batch, epoch: int) -> ExampleStreams:
        return ExampleStreams(self.recipe.seed, what, indices=batch.indices, first=epoch, device=batch.images.device)

    def loss(self, images: Tensor, labels: Tensor, drawn: Drawn, attack: PGD, threat: Linf) -> tuple[Tensor, Tensor]:
        """Mean loss and number of correct predictions; tensor work alone, the same whatever the tensors hold."""
        adversarial = images
        if drawn.attacked is not None and drawn.start is not None:
            start = drawn.start
            with self.objective.during_attack():
                adversarial = self.adversarial(attack, threat, images, labels if drawn.targets is None else
                                               drawn.targets, drawn.attacked, lambda *shape: start)
        networks = [self._on(path) for path in drawn.all_trained]
        with self._gradient("update"):
            loss, logits = self.objective.joint_loss(networks, images, adversarial, labels)
        return loss, (logits.detach().argmax(1) == labels).sum()

    def adversarial(self, attack: PGD, threat: Linf, images: Tensor, labels: Tensor, path: Path, uniform: Uniform
                    ) -> Tensor:
        """Adversarial images through a frozen path (or one for each image), in the recipe's attack mode; a targeted
        attack takes targets for `labels`."""
        training = self.model.training and self.recipe.attack_mode == "train"
        statistics = nullcontext() if self.recipe.track_attack_stats else frozen_statistics(self.model)
        with in_mode(self.model, training), frozen_parameters(self.model), statistics, self._gradient("attack"):
            return attack.run(OnePath(Watched(self.model, self.on_pass), path), images, labels,
                              lambda *shape: uniform(*shape).to(memory_format=torch.channels_last), threat)

    @property
    def attack_passes(self) -> float:
        """What an attack in training costs per image, in forward passes."""
        return GRADIENT_COST * self.recipe.steps

    def _gradient(self, passes: str) -> AbstractContextManager[None]:
        """The ReLUs' gradient in the passes of the attack, or of the update."""
        return smooth_gradient(self.model) if self.recipe.smooth_gradient in (passes, "both") else nullcontext()

    def _on(self, path: Path) -> Network:
        rows = len(path.choices)

        def logits(images: Tensor) -> Tensor:
            fits = not path.per_sample or len(images) == rows
            own = path if fits else path.take(torch.arange(len(images), device=path.choices.device) % rows)
            found: Tensor = self.model.on(own)(images)
            return found.float()
        return logits

    def _path(self, what: tuple[str | int, ...], batch: Batch, epoch: int, step: int, other_than: Path | None = None
              ) -> Path:
        rows = self.recipe.granularity == "sample"
        streams = ExampleStreams(self.recipe.seed, *what, indices=batch.indices if rows else [step], first=epoch,
                                 device=batch.images.device if rows else "cpu")
        space = self.model.space
        return space.sample_each(streams) if other_than is None else space.sample_other(other_than, streams)
