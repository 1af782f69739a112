"""The one vocabulary of options. A command picks from here, so that a name means the same everywhere."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

MODEL, DATA, ATTACK, TRAINING, RUN = "Network", "Data", "Attack", "Training", "Run"


def option(help: str, panel: str, *names: str) -> typer.models.OptionInfo:
    info: typer.models.OptionInfo = typer.Option(*names, help=help, rich_help_panel=panel)
    return info


class Granularity(str, Enum):
    batch = "batch"
    sample = "sample"


class Precision(str, Enum):
    fp32 = "fp32"
    tf32 = "tf32"
    bf16 = "bf16"


class Norm(str, Enum):
    linf = "Linf"
    l2 = "L2"


Dataset = Annotated[str, option("digits, cifar10, cifar100, imagenet or folder.", DATA)]
DatasetOrNone = Annotated[Optional[str], option("Data set to attack on.  [default: the run's own]", DATA)]
DataDir = Annotated[Optional[Path], option("Folder of the data set (not needed for digits).", DATA)]
DatasetName = Annotated[Optional[str], option("What results call the data set.  [default: --dataset]", DATA)]
Download = Annotated[bool, option("Fetch cifar10 or cifar100 into --data-dir.", DATA)]
NTrain = Annotated[Optional[int], option("Images to train on.  [default: all that are not held out]", DATA)]
NHoldout = Annotated[Optional[int], option("Training images held out to watch and select by; 0 needs "
                                           "--select last.  [default: a tenth, at most 1,000]", DATA)]
NExamples = Annotated[Optional[int], option("Test images to attack.  [default: all]", DATA)]

Arch = Annotated[str, option("resnet18, wrn32 or resnet50.", MODEL)]
Width = Annotated[Optional[int], option("Channels of the first stage; wrn32: widening factor.  "
                                        "[default: 64; wrn32: 10]", MODEL)]
Space = Annotated[str, option("Normalisers, joined by +: bn, in, ln, gn32, bgn32 (groups), gn[4], gn[1-64] "
                              "(group sizes), in-plain (IN without scale and shift).", MODEL)]
LayerBased = Annotated[bool, option("One draw for all layers instead of one per layer (Table 5).", MODEL)]
GranularityOption = Annotated[Granularity, option("One path per batch (the paper) or one per sample.", MODEL)]

NormOption = Annotated[Norm, option("Norm that bounds the change.", ATTACK)]
Eps = Annotated[str, option("Largest change of a pixel (Linf) or of the image (L2): 8/255 or a decimal.", ATTACK)]
StepSize = Annotated[Optional[str], option("Step of PGD in pixel units: 2/255 or a decimal.  [default: eps/4]", ATTACK)]
TrainSteps = Annotated[int, option("PGD steps per training batch.", ATTACK)]
AttackSteps = Annotated[Optional[int], option("Steps of every attack that has steps, in its name too: mifgsm becomes "
                                              "mifgsm7. Refused where two attacks become one (as in sweeps of "
                                              "steps).  [default: each attack's own]", ATTACK)]
Draws = Annotated[int, option("Fresh path draws that score the adversarial images.", ATTACK)]

Epochs = Annotated[int, option("Passes over the training images.", TRAINING)]
BatchSize = Annotated[int, option("Images per batch.", RUN)]
Device = Annotated[str, option("auto, cpu, cuda or cuda:N.", RUN)]
PrecisionOption = Annotated[Precision, option("fp32: float32 throughout; tf32: its products in TF32 (CUDA only); bf16: "
                                               "activations in bfloat16.", RUN)]
Compile = Annotated[bool, option("Compile the network (pays on CUDA; needs a C++ compiler on a CPU).", RUN)]
Seed = Annotated[int, option("Seed of every random stream.", RUN)]
Runs = Annotated[Path, option("Folder in which runs are looked for that are not named.", RUN)]
Refresh = Annotated[bool, option("Make anew what older versions of the algorithms made.", RUN, "--refresh")]
MaxMinutes = Annotated[Optional[float], option("Stop cleanly after so many minutes (exit code 3); the same command "
                                               "goes on.  [default: no limit]", RUN)]
