"""Our names of a network's tensors and those of released files: RNA checkpoints and torchvision's. Knows no tensors.

    ours                                                released
    network.1.norm1.options.0.weight                    module.bn1.norm.0.weight             option 0 of the stem
    network.1.stages.1.0.shortcut.1.options.1.bias      module.layer2.0.shortcut.1.norm.1.bias
    network.1.blocks.5.norm1.options.0.running_mean     module.block2.layer.0.bn1.norm.0.running_mean
    network.1.norm.weight                               module.bn1.weight                    wrn32's final BN
    network.1.layer1.0.downsample.1.weight              layer1.0.downsample.1.weight         torchvision's resnet50

`module.` is what DataParallel puts before every name. Networks of one normaliser have no `.norm.N` there and no
`.options.N` here. The input normalisation, `network.0`, has no counterpart: a released file does not hold it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rnabench.errors import InvalidValue, one_of
from rnabench.settings.spaces import parse_space

OURS, RELEASED = "network.1.", "module."
WRN_BLOCKS = 5  # blocks per stage at depth 34
NUMBERED = re.compile(r"(gn|gbn)(r?)_(\d+)")


@dataclass(frozen=True)
class Scheme:
    """`rename` maps a name within the network; the released tensor `first` has `unit` * width rows, and `last` one
    row per class.

    `file` is what such a file is, `selected` by what its epoch was chosen, and `statistics` the data set whose mean
    and deviation normalise its input, as far as one knows.
    """

    rename: Callable[[str], str]
    first: str
    unit: int
    last: str
    file: str = "released RNA checkpoint (PyTorch state_dict)"
    selected: str = "unknown; the released training code keeps the epoch that is best on the test set"
    statistics: str = "cifar10"


def _resnet(name: str) -> str:
    return re.sub(r"^stages\.(\d+)\.", lambda found: f"layer{int(found[1]) + 1}.", name)


def _wide_resnet(name: str) -> str:
    def block(found: re.Match[str]) -> str:
        stage, number = divmod(int(found[1]), WRN_BLOCKS)
        return f"block{stage + 1}.layer.{number}."

    name = re.sub(r"^norm\.", "bn1.", re.sub(r"^linear\.", "fc.", name))
    return re.sub(r"^blocks\.(\d+)\.", block, name).replace(".shortcut.", ".convShortcut.")


SCHEMES = {
    "resnet18": Scheme(_resnet, "module.layer1.0.conv1.weight", 1, "module.linear.weight"),
    "wrn32": Scheme(_wide_resnet, "module.block1.layer.0.conv1.weight", 16, "module.fc.weight"),
    "resnet50": Scheme(str, "module.layer1.0.conv3.weight", 4, "module.fc.weight", "weights under torchvision's names",
                       "unknown", "imagenet"),
}


def scheme(arch: str) -> Scheme:
    """Raises InvalidValue for an architecture of which the released names are not known."""
    if arch not in SCHEMES:
        raise InvalidValue("arch", arch, f"{one_of(SCHEMES)}, whose released names are known")
    return SCHEMES[arch]


def released_space(text: str) -> tuple[str, str]:
    """A released file's space in our grammar, and in words how its numbers were read (empty if it has none).

    Beside our names, `text` may have the released code's: gn_4 and gbn_4 have 4 groups, gnr_4 and gbnr_4 groups of 4
    channels. A GN with a number must be named so: both readings have the same shapes, but compute different networks.
    (The running statistics of a BGN have one value per group, which tells.) Raises InvalidValue.
    """
    ours, read = [], []
    for term in text.lower().replace(" ", "").split("+"):
        if found := NUMBERED.fullmatch(term):
            family, number = found[1].replace("gbn", "bgn"), int(found[3])
            by_size, plural = bool(found[2]), "s" * (number != 1)
            ours.append(f"{family}[{number}]" if by_size else f"{family}{number}")
            read.append(f"{term}: groups of {number} channel{plural}" if by_size else f"{term}: {number} group{plural}")
        elif term.startswith("gn"):
            raise InvalidValue("--space", text, "each GN by the file's own name, gn_N for N groups or gnr_N for groups "
                               f"of N channels: the file's shapes are the same for both ({term!r} does not say which)")
        else:
            ours.append(term)
    return str(parse_space("+".join(ours))), ", ".join(read)


def released_names(arch: str, names: Iterable[str]) -> dict[str, str]:
    """Our name -> the released one, for every name that has one. No two are the same, so that it can be turned round.

    Raises InvalidValue as `scheme` does.
    """
    rename = scheme(arch).rename
    found = {}
    for name in names:
        if name.startswith(OURS):
            within = re.sub(r"\bnorm([12])\.", r"bn\1.", rename(name.removeprefix(OURS)))
            found[name] = RELEASED + within.replace(".options.", ".norm.")
    return found
