"""SORS, self-orthogonal randomization super-network: paths whose input gradients are orthogonal (Bian et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from rnabench.errors import InvalidValue
from rnabench.path.space import PathSpace
from rnabench.settings.training import OBJECTIVES, TrainingSettings
from rnabench.training.objective import Network, Objective


@OBJECTIVES.register("sors")
class SelfOrthogonal(Objective):
    """Cross-entropy on two different paths, the orthogonality of their input gradients, and a teacher's probabilities
    (eq. 4 to 7); with `orthogonality` 0 and no teacher the paper's RS, on two paths at a time.

    Eq. 4 sums over the sub-networks i and over pairs i, j. Here it is divided by the number of sub-networks: the mean
    of the two cross-entropies, plus `orthogonality` times one squared cosine (both orders of the pair, over two). That
    weighs the two parts as the paper does, and leaves to the learning rate and the weight decay the meaning that they
    have for a plain network, whose values the paper takes. The weight, 10 in the paper, so stands between a mean
    squared cosine, which is in [0, 1], and a mean cross-entropy.
    """

    attacks = False
    paths = 2
    settings = ("orthogonality", "teacher")

    @classmethod
    def check(cls, recipe: TrainingSettings, space: PathSpace) -> None:
        super().check(recipe, space)
        if recipe.compile and recipe.orthogonality:
            raise InvalidValue("--compile", True, "no compiling with objective 'sors', unless --orthogonality is 0: a "
                               "compiled network cannot be differentiated twice")

    @classmethod
    def cost(cls, recipe: TrainingSettings) -> float:
        """With input gradients six forward passes for each path: forward, the gradient of the images, and the gradients
        through both, by activations and by weights."""
        return (6.0 if recipe.orthogonality else 3.0) * cls.paths

    def joint_loss(self, networks: Sequence[Network], images: Tensor, adversarial: Tensor, labels: Tensor
                   ) -> tuple[Tensor, Tensor]:
        weight = self.recipe.orthogonality
        images = images.detach().requires_grad_(weight > 0)
        logits = [network(images) for network in networks]
        loss = mean_cross_entropy(logits, labels)
        if self.recipe.teacher is not None:
            loss = loss + mean_cross_entropy(logits, self.taught(images))
        if weight > 0:
            first, second = (input_gradient(each, labels, images) for each in logits)
            loss = loss + weight * squared_cosine(first, second).mean()
        return loss, logits[0]


def mean_cross_entropy(logits: Sequence[Tensor], target: Tensor) -> Tensor:
    """Over paths and samples; `target` are labels [N] or probabilities [N, classes] (eq. 5 and 7)."""
    return torch.stack([F.cross_entropy(each, target) for each in logits]).mean()


def input_gradient(logits: Tensor, labels: Tensor, images: Tensor) -> Tensor:
    """The gradient of the images' cross-entropies, summed, by the images: [N, 3, H, W], itself differentiable."""
    # the sum and not the mean, so that an image's gradient does not shrink with the batch towards the guard below
    summed = F.cross_entropy(logits, labels, reduction="sum")
    return torch.autograd.grad(summed, images, create_graph=True)[0]


def squared_cosine(first: Tensor, second: Tensor) -> Tensor:
    """L_ort of eq. 6 for each sample, [N] in [0, 1]: 1 for parallel gradients, 0 for orthogonal ones and for one
    that vanishes. The equation as printed divides by squared norms, of which its text and its range know nothing."""
    return F.cosine_similarity(first.flatten(1), second.flatten(1), eps=1e-12).square()
