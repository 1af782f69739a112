"""Training with mixture BN (chapter 6 of the thesis)."""

from __future__ import annotations

from rnabench.errors import InvalidValue
from rnabench.norm.mixture import MixtureBatchNorm
from rnabench.path.space import PathSpace
from rnabench.settings.architectures import space_of
from rnabench.settings.spaces import NORMS
from rnabench.settings.training import OBJECTIVES, TrainingSettings
from rnabench.training.mix import Mix


@OBJECTIVES.register("mbn")
class MixtureTraining(Mix):
    """`mix` on a network that has a BN for each kind of image. The same with logit pairing is `alp` on such a network.
    """

    @classmethod
    def check(cls, recipe: TrainingSettings, space: PathSpace) -> None:
        super().check(recipe, space)
        kinds = [NORMS.get(norm.name) for norm in space_of(recipe.arch, recipe.space).norms]
        if not any(isinstance(kind, type) and issubclass(kind, MixtureBatchNorm) for kind in kinds):
            raise InvalidValue("--objective", recipe.objective, f"a network with mixture BNs (--space mbn) for it, not "
                               f"one of space {recipe.space!r}; or objective 'mix'")
