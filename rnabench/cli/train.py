"""`rnabench train`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

from rnabench.cli import options as o


class Schedule(str, Enum):
    step = "step"
    cosine = "cosine"
    one_cycle = "one-cycle"


class AttackMode(str, Enum):
    train = "train"
    eval = "eval"


class Unused(str, Enum):
    still = "still"
    decay = "decay"


class Variance(str, Enum):
    biased = "biased"
    unbiased = "unbiased"


class Select(str, Enum):
    best = "best"
    last = "last"


def train(
    dataset: o.Dataset = "digits",
    data_dir: o.DataDir = None,
    dataset_name: o.DatasetName = None,
    download: o.Download = False,
    n_train: o.NTrain = None,
    n_holdout: o.NHoldout = None,
    drop_last: Annotated[bool, o.option("Leave out an epoch's last incomplete batch; the released RNA code trains on "
                                        "it.", o.DATA)] = True,
    augment: Annotated[bool, o.option("Pad by 4, crop at random and mirror (digits are not mirrored).", o.DATA)] = True,
    arch: o.Arch = "resnet18",
    width: o.Width = None,
    space: o.Space = "bn+in",
    layer_based: o.LayerBased = False,
    granularity: o.GranularityOption = o.Granularity.batch,
    bgn_momentum: Annotated[float, o.option("Weight of the new batch in the running statistics of BGNs of several "
                                            "channels per group; the released RNA code's is 0.9.", o.MODEL)] = 0.1,
    bgn_variance: Annotated[Variance, o.option("Variance by which those divide a training batch; the released RNA "
                                               "code's is unbiased.", o.MODEL)] = Variance.biased,
    input_statistics: Annotated[Optional[str], o.option(
        "Data set whose mean and deviation normalise the input, such as cifar10, cifar100 or imagenet; the released "
        "RNA code takes cifar10's for cifar100.  [default: its own]", o.MODEL)] = None,
    objective: Annotated[str, o.option("black-box: train another path than the attacked one (Algorithm 1); white-box: "
                                       "the attacked one; standard: without attack.", o.TRAINING)] = "black-box",
    eps: o.Eps = "8/255",
    step_size: o.StepSize = None,
    steps: o.TrainSteps = 10,
    eps_warmup: Annotated[int, o.option("Epochs over which the inner attack's eps grows to its full value.", o.ATTACK)
                          ] = 0,
    attack_mode: Annotated[AttackMode, o.option("Mode of the network during the inner attack.", o.ATTACK)
                           ] = AttackMode.train,
    track_attack_stats: Annotated[bool, o.option("Let the inner attack move running statistics, as the released RNA "
                                                 "code does.", o.ATTACK)] = False,
    epochs: o.Epochs = 30,
    batch_size: o.BatchSize = 128,
    lr: Annotated[float, o.option("Peak learning rate of SGD.", o.TRAINING)] = 0.1,
    momentum: Annotated[float, o.option("Momentum of SGD.", o.TRAINING)] = 0.9,
    weight_decay: Annotated[float, o.option("Weight decay of SGD.", o.TRAINING)] = 5e-4,
    unused_options: Annotated[Unused, o.option("Normalisers that a batch's path leaves out stand still, or go on by "
                                               "momentum and weight decay, as in the released RNA code.", o.TRAINING)
                              ] = Unused.still,
    schedule: Annotated[Schedule, o.option("step: a tenth at 1/2 and at 3/4 of the run, or at --milestones.",
                                           o.TRAINING)] = Schedule.step,
    milestones: Annotated[Optional[str], o.option("Epochs after which --schedule step divides the rate by ten; the "
                                                  "released RNA code's are 99,149 of 200.  [default: 1/2 and 3/4]",
                                                  o.TRAINING)] = None,
    select: Annotated[Select, o.option("Keep the epoch that is best on the held-out images, or the last.", o.TRAINING)
                      ] = Select.best,
    device: o.Device = "auto",
    precision: o.PrecisionOption = o.Precision.fp32,
    compile: o.Compile = False,
    seed: o.Seed = 0,
    refresh: o.Refresh = False,
    max_minutes: o.MaxMinutes = None,
    out: Annotated[Optional[Path], o.option("Run folder.  [default: runs/<data>-<arch>-<space>-<digest>]", o.RUN)
                   ] = None,
) -> None:
    """Train a network with a space of normalisers, adversarially by default.

    Writes model.safetensors, run.json and log.csv. Ctrl-C stops cleanly; the same command goes on.
    """
    values = {name: value.value if isinstance(value, Enum) else value for name, value in locals().items()}
    execution = {name: values.pop(name) for name in ("device", "max_minutes", "out", "refresh")}

    from rnabench.settings.base import from_options
    from rnabench.settings.training import TrainingSettings

    recipe = from_options(TrainingSettings, values)

    from rnabench.cli.console import LiveProgress, console, stop_request
    from rnabench.jobs.train import run_name, train

    folder = execution["out"] or Path("runs") / run_name(recipe)
    with stop_request(execution["max_minutes"]) as stop, LiveProgress() as progress:
        run = train(recipe, folder, progress, stop, execution["device"], execution["refresh"])
    chosen = run["selected"]
    held_out = "nothing held out" if "holdout_pgd" not in chosen else (
        f"held-out natural {chosen['holdout_natural']:.1%}, PGD-{recipe.steps} {chosen['holdout_pgd']:.1%}")
    console().print(f"{folder}: epoch {chosen['epoch']} kept ({chosen['by']}), {held_out}", markup=False)
    console().print(f"next: rnabench attack {folder} --eps {eps}", markup=False)
