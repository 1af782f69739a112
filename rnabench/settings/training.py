"""How a network is trained: the settings that decide what it is."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import StrictBool, ValidationInfo, field_validator

from rnabench.settings.architectures import ARCHITECTURES, USUAL_SPACE, operators_of, options_of, spelled_space
from rnabench.settings.base import BATCH_SIZE, Capture, Granularity, Precision, Seed, digest, judged, setting
from rnabench.settings.datasets import DataSettings, published_statistics
from rnabench.settings.initial import checked_init, init_identity
from rnabench.settings.parts import NONE, PARTS, RELU, activations, defences, denoisers, spelled, unusual_parts
from rnabench.settings.pixels import EPS, STEP_SIZE, Pixels
from rnabench.settings.registry import Registry

NETWORK = "arch", "space", "width", "operators", *PARTS, "layer_based"  # what `build_model` is told

OBJECTIVES: Registry[Any] = Registry("objective", "rnabench.training", "rnabench.objectives")


class TrainingSettings(DataSettings):
    """Everything that decides what a trained network is.

    Some settings are there for the behaviour of the paper's released code (docs/pages/papers/released-code.md).
    `track_attack_stats` and `unused_options` keep what that code does; BGNs of one channel per group are batch
    normalisations, and keep torch's momentum and variance.
    """

    unused: ClassVar[tuple[str, ...]] = ("teacher",)  # `train` is told in which run folder it lies

    eps: Annotated[Pixels, EPS] = 8 / 255
    step_size: Annotated[Pixels | None, STEP_SIZE] = None
    arch: str = setting("resnet18", "resnet18, resnet50 (ImageNet); resnet20, resnet38, resnet56, resnet110, "
                        "resnet50-cifar (three stages); wrn16, wrn32; vgg11, vgg16; lenet5; super-networks of random "
                        "operators: rs-resnet18, rs-lenet5.", "Network")
    width: int | None = setting(None, "Channels of the first stage or convolution; wrn16, wrn32: widening factor.",
                                "Network", "the paper's, as `rnabench describe` says", strict=True, ge=1, le=1024)
    operators: int | None = setting(None, "Operators that a choice layer of a super-network chooses from.", "Network",
                                    "4 for rs-resnet18 and rs-lenet5", strict=True, ge=1, le=16)
    space: str = setting(USUAL_SPACE, "Normalisers, joined by +: bn, in, ln, gn32, bgn32 (groups), gn[4], gn[1-64] "
                         "(group sizes), in-plain (IN without scale and shift); none, robust, robust0.05 (power), "
                         "bn-batch, mbn. lenet5 and rs-lenet5 have no place for one: none.", "Network",
                         validate_default=True)
    activation: str = setting(RELU, "What stands in the place of every ReLU; several, joined by +, are drawn from: "
                              "relu, silu, gelu, elu, elu2, celu, celu2, softplus, softplus10 (its sharpness), "
                              "smoothrelu (learns its own).", "Network")
    denoise: str = setting(NONE, "Block that filters feature maps; several, joined by +, are drawn from: none, "
                           "gaussian, dot, bilateral, bilateral-dot, mean, median, null; with -no-1x1, -no-residual "
                           "or -no-bn behind, without that.", "Network")
    denoise_at: Literal["stages", "blocks"] = setting(
        "stages", "Where those stand: behind the stages, or behind all residual blocks.", "Network")
    defence: str = setting(NONE, "Random defence: none, input-noise0.25, smoothing0.25 (noise at the input), rse0.2 "
                           "(noise in layers), rpf0.75 (random filters), resize-pad1.1, sap1 (pruned activations), "
                           "ensemble3 (of networks), bit-depth, jpeg.", "Network")
    layer_based: StrictBool = setting(False, "One draw for all layers instead of one per layer (Table 5).", "Network")
    granularity: Granularity = setting("batch", "One path per batch (the paper) or one per sample.", "Network")
    bgn_momentum: float = setting(0.1, "Weight of the new batch in the running statistics of BGNs of several channels "
                                  "per group; the released RNA code's is 0.9.", "Network", gt=0, le=1)
    bgn_variance: Literal["biased", "unbiased"] = setting(
        "biased", "Variance by which those divide a training batch; the released RNA code's is unbiased.", "Network")
    input_statistics: str | None = setting(
        None, "Data set whose mean and deviation normalise the input, such as cifar10, cifar100 or imagenet; the "
        "released RNA code takes cifar10's for cifar100.", "Network", "its own")
    objective: str = setting("black-box", "black-box: train another path than the attacked one (Algorithm 1); "
                             "white-box: the attacked one; standard: without attack; sors: two paths without attack, "
                             "whose input gradients are made orthogonal; mix: clean and adversarial images in a batch; "
                             "alp: mix, with alike logits for both of a pair; mbn: mix by a BN for each kind (space "
                             "mbn); advprop: the sum of both losses, for accuracy on clean images (space mbn).",
                             "Training")
    orthogonality: float = setting(10, "Weight of the squared cosine between the input gradients of two paths "
                                   "(objective sors; 0: none, and no such gradients).", "Training", ge=0, le=1e6)
    teacher: TrainingSettings | None = setting(
        None, "A trained network whose predicted probabilities are learnt beside the labels (objective sors).",
        "Training", "none")
    steps: int = setting(10, "PGD steps per training batch.", "Attack", strict=True, ge=1, le=1000)
    smooth_gradient: Literal["none", "attack", "update", "both"] = setting(
        "none", "Passes in which ReLUs have the derivative sigma(10 x): the inner attack's, the update's, or both.",
        "Training")
    eps_warmup: int = setting(0, "Epochs over which the inner attack's eps grows to its full value.", "Attack",
                              strict=True, ge=0, le=10000)
    attack_mode: Literal["train", "eval"] = setting("train", "Mode of the network during the inner attack.", "Attack")
    track_attack_stats: StrictBool = setting(False, "Let the inner attack move running statistics, as the released RNA "
                                             "code does.", "Attack")
    target: Literal["none", "random"] = setting(
        "none", "random: the inner attack lowers the loss towards a wrong class, drawn for each image.", "Attack")
    clean_start: float = setting(0, "Share of the images whose inner attack starts at the image itself; the thesis has "
                                 "0.2.", "Attack", ge=0, le=1)
    clean_weight: float = setting(0.5, "Weight of the clean images' loss, beside 1 less that of the adversarial ones' "
                                  "(objectives mix, alp, mbn; 0: no clean images).", "Training", ge=0, le=1)
    clean_share: float = setting(1, "Share of a batch's clean images that are kept (objectives mix, alp, mbn).",
                                 "Training", ge=0, le=1)
    pairing: float = setting(0.5, "Weight of the mean squared difference between the logits of an image and of its "
                             "adversarial one (objective alp).", "Training", ge=0, le=1e6)
    label_smoothing: float = setting(0, "Share of the label that the training loss spreads over all classes; the "
                                     "thesis has 0.1.", "Training", ge=0, lt=1)
    init: str | None = setting(None, "Weights to start from: torchvision:ResNet50_Weights.IMAGENET1K_V1 (or another "
                               "of its names), or a file of them, for resnet50, resnet18 and wrn32.",
                               "Training", "random ones")
    epochs: int = setting(30, "Passes over the training images (0: the weights of --init as they are).", "Training",
                          strict=True, ge=0, le=10000)
    frozen_epochs: int = setting(0, "Last epochs, which train with running statistics that stand still; the thesis has "
                                 "10 of 110.", "Training", strict=True, ge=0)
    batch_size: int = setting(128, BATCH_SIZE, "Run", strict=True, ge=2, le=65536)
    lr: float = setting(0.1, "Peak learning rate of SGD.", "Training", gt=0, le=100)
    momentum: float = setting(0.9, "Momentum of SGD.", "Training", ge=0, lt=1)
    weight_decay: float = setting(5e-4, "Weight decay of SGD.", "Training", ge=0, lt=1)
    weight_average: float | None = setting(
        None, "Decay of a moving average of the weights, such as 0.9995, which is then what is judged and kept; the "
        "paper has none.", "Training", "none", gt=0, lt=1)
    unused_options: Literal["still", "decay"] = setting(
        "still", "Normalisers that a batch's path leaves out stand still, or go on by momentum and weight decay, as in "
        "the released RNA code.", "Training")
    schedule: Literal["step", "cosine", "one-cycle"] = setting(
        "step", "step: a tenth at 1/2 and at 3/4 of the run, or at --milestones.", "Training")
    milestones: tuple[int, ...] | None = setting(
        None, "Epochs after which --schedule step divides the rate by ten; the released RNA code's are 99,149 of 200.",
        "Training", "1/2 and 3/4")
    drop_last: StrictBool = setting(True, "Leave out an epoch's last incomplete batch; the released RNA code trains on "
                                    "it.", "Data")
    augment: StrictBool = setting(True, "Pad by 4, crop at random and mirror (digits are not mirrored).", "Data")
    n_train: int | None = setting(None, "Images to train on.", "Data", "all that are not held out", strict=True, ge=2)
    n_holdout: int | None = setting(None, "Training images held out to watch and select by; 0 needs --select last.",
                                    "Data", "a tenth, at most 1,000", strict=True, ge=0)
    select: Literal["best", "last"] = setting(
        "best", "Keep the epoch that is best on the held-out images, or the last.", "Training", validate_default=True)
    precision: Precision = "fp32"
    capture: Capture = False
    compile: StrictBool = setting(False, "Compile the network (pays on CUDA; needs a C++ compiler on a CPU).", "Run")
    seed: Seed = 0

    @field_validator("arch")
    @classmethod
    def _arch(cls, value: str) -> str:
        return judged(ARCHITECTURES.get, value)

    @field_validator("operators")
    @classmethod
    def _operators(cls, value: int | None, info: ValidationInfo) -> int | None:
        if "arch" in info.data:
            judged(lambda given: operators_of(info.data["arch"], given), value)
        return value

    @field_validator("init")
    @classmethod
    def _init(cls, value: str | None) -> str | None:
        return None if value is None else judged(checked_init, value)

    @field_validator("input_statistics")
    @classmethod
    def _input_statistics(cls, value: str | None) -> str | None:
        return None if value is None else judged(published_statistics, value)

    @field_validator("objective")
    @classmethod
    def _objective(cls, value: str) -> str:
        return judged(OBJECTIVES.get, value)

    @field_validator("orthogonality", "teacher", "target", "clean_start", "clean_weight", "clean_share", "pairing",
                     "label_smoothing")
    @classmethod
    def _of_some_objectives(cls, value: Any, info: ValidationInfo) -> Any:
        name, chosen = str(info.field_name), info.data.get("objective")
        if chosen is not None and value != cls.model_fields[name].default and name not in OBJECTIVES[chosen].settings:
            users = [repr(each) for each, objective in OBJECTIVES.items() if name in objective.settings]
            raise ValueError(f"expected objective {' or '.join(users)} with it, not {chosen!r}")
        return value

    @field_validator("teacher")
    @classmethod
    def _of_the_same_data(cls, value: TrainingSettings | None, info: ValidationInfo) -> TrainingSettings | None:
        own = tuple(info.data.get(name) for name in ("dataset", "dataset_name"))
        if value is not None and own[0] is not None and own != (value.dataset, value.dataset_name):
            raise ValueError(f"expected a network for data set {own[1] or own[0]!r}: this is a teacher of another data "
                             f"set, {value.title!r}")
        return value

    @field_validator("space")
    @classmethod
    def _space(cls, value: str, info: ValidationInfo) -> str:
        arch = info.data.get("arch", "resnet18")  # of one that is not valid, which is told already, any
        judged(lambda given: spelled_space(arch, given), value)
        return spelled_space(arch, value)

    @field_validator("activation")
    @classmethod
    def _activation(cls, value: str) -> str:
        judged(activations, value)
        return spelled(activations(value))

    @field_validator("denoise")
    @classmethod
    def _denoise(cls, value: str) -> str:
        judged(denoisers, value)
        return spelled(denoisers(value))

    @field_validator("denoise_at")
    @classmethod
    def _denoise_at(cls, value: str, info: ValidationInfo) -> str:
        if value != "stages" and info.data.get("denoise") == NONE:
            raise ValueError("expected 'stages' without denoising blocks (denoise)")
        return value

    @field_validator("defence")
    @classmethod
    def _defence(cls, value: str) -> str:
        judged(defences, value)
        return spelled(defences(value)) or NONE

    @field_validator("epochs")
    @classmethod
    def _epochs(cls, value: int, info: ValidationInfo) -> int:
        if not value and info.data.get("init") is None:
            raise ValueError("expected 1 or more, or weights that are used as they are (init)")
        return value

    @field_validator("frozen_epochs")
    @classmethod
    def _frozen_epochs(cls, value: int, info: ValidationInfo) -> int:
        if value > info.data.get("epochs", value):
            raise ValueError(f"expected at most the {info.data['epochs']} epochs that there are")
        return value

    @field_validator("smooth_gradient")
    @classmethod
    def _smooth_gradient(cls, value: str, info: ValidationInfo) -> str:
        activation = info.data.get("activation", RELU)
        if value != "none" and RELU not in (part.kind for part in activations(activation)):
            raise ValueError(f"expected 'none': activation {activation!r} has no ReLU")
        return value

    @field_validator("milestones", mode="before")
    @classmethod
    def _milestones(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str):
            value = [int(part) if re.fullmatch(r" *\d{1,5} *", part) else part for part in value.split(",")]
        if value is None or not isinstance(value, list | tuple):
            return value
        epochs = info.data.get("epochs", 10000)
        whole = all(isinstance(epoch, int) and not isinstance(epoch, bool) for epoch in value)
        if not whole or not value or sorted(set(value)) != list(value) or not 0 < value[0] <= value[-1] < epochs:
            raise ValueError(f"expected growing numbers of epochs between 1 and {epochs - 1}, such as 99,149")
        if info.data.get("schedule") != "step":
            raise ValueError("expected none, or schedule 'step'")
        return value

    @field_validator("select")
    @classmethod
    def _select(cls, value: str, info: ValidationInfo) -> str:
        if value == "best" and info.data.get("n_holdout") == 0:
            raise ValueError("expected 'last': no images are held out to choose an epoch by")
        return value

    @property
    def step(self) -> float:
        """The step size in pixel units: eps / 4 unless given, which is the paper's 2/255 at its eps of 8/255."""
        return self.eps / 4 if self.step_size is None else self.step_size

    @property
    def options(self) -> int:
        """The most options that a choice layer of the network has; 1: nothing is random."""
        return options_of(self.arch, self.space, self.operators, self.activation, self.denoise, self.defence)

    @property
    def network(self) -> dict[str, Any]:
        """What `build_model` is told of the network, but for its classes, its input and its seed."""
        return {name: getattr(self, name) for name in NETWORK}

    @property
    def teachers(self) -> tuple[TrainingSettings, ...]:
        """Its teacher, that one's teacher, and so on."""
        return (self.teacher, *self.teacher.teachers) if self.teacher else ()

    def __str__(self) -> str:
        return "-".join([self.title, self.arch, self.space, *unusual_parts(self.network).values()])

    def identity(self) -> dict[str, Any]:
        """What decides the network: every value that is not the default, and nothing about where the files lie.

        Defaults are left out so that a new option does not make every run folder stale; so a default never changes.
        """
        return self.model_dump(mode="json", exclude={"data_dir", "download", "teacher"}, exclude_defaults=True) | {
            "dataset": self.dataset, "arch": self.arch, "space": self.space, "step_size": self.step,
        } | ({"teacher": self.teacher.identity()} if self.teacher else {}) | (
            {"init": init_identity(self.init)} if self.init else {})

    def digest(self) -> str:
        return digest(self.identity())
