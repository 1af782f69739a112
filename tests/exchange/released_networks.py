"""Networks in the released naming scheme, written with torch's own modules only: what a converted one must equal."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)


class GroupedBatchNorm(nn.Module):
    """BGN at inference: weight and bias [1, C, 1, 1], running statistics [groups], no counter."""

    def __init__(self, groups: int, channels: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.register_buffer("running_mean", torch.zeros(groups))
        self.register_buffer("running_var", torch.ones(groups))

    def forward(self, x: Tensor) -> Tensor:
        parts = x.reshape(len(x), self.groups, -1)
        parts = (parts - self.running_mean[:, None]) / (self.running_var[:, None] + 1e-5).sqrt()
        return parts.reshape(x.shape) * self.weight + self.bias


class Chosen(nn.Module):
    def __init__(self, norm: list[nn.Module]) -> None:
        super().__init__()
        self.norm, self.number = nn.ModuleList(norm), 0

    def forward(self, x: Tensor) -> Tensor:
        return self.norm[self.number](x)


def one(label: str, channels: int) -> nn.Module:
    if label == "bn":
        return nn.BatchNorm2d(channels)
    if label.startswith("bgn"):
        return GroupedBatchNorm(int(label[3:]), channels)
    if label == "in-plain":
        return nn.InstanceNorm2d(channels)
    return nn.GroupNorm({"in": channels, "ln": 1}.get(label) or int(label[2:]), channels)


def norm(space: str, channels: int) -> nn.Module:
    labels = space.split("+")
    return one(space, channels) if len(labels) == 1 else Chosen([one(label, channels) for label in labels])


class BasicBlock(nn.Module):
    def __init__(self, space: str, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = norm(space, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = norm(space, outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(space, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class ResNet18(nn.Module):
    def __init__(self, space: str, width: int = 8, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = norm(space, width)
        for stage, (inputs, outputs) in enumerate([(1, 1), (1, 2), (2, 4), (4, 8)], start=1):
            first = BasicBlock(space, width * inputs, width * outputs, 1 if stage == 1 else 2)
            second = BasicBlock(space, width * outputs, width * outputs, 1)
            self.add_module(f"layer{stage}", nn.Sequential(first, second))
        self.linear = nn.Linear(8 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            out = stage(out)
        return self.linear(F.adaptive_avg_pool2d(out, 1).flatten(1))


class PreActivationBlock(nn.Module):
    def __init__(self, space: str, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = norm(space, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = norm(space, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.convShortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        out = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return out + (x if self.convShortcut is None else self.convShortcut(active))


class Stage(nn.Module):
    def __init__(self, space: str, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(PreActivationBlock(space, inputs, outputs, stride),
                                   *(PreActivationBlock(space, outputs, outputs, 1) for _ in range(4)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class WideResNet34(nn.Module):
    def __init__(self, space: str, widen: int = 2, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.block1 = Stage(space, 16, 16 * widen, 1)
        self.block2 = Stage(space, 16 * widen, 32 * widen, 2)
        self.block3 = Stage(space, 32 * widen, 64 * widen, 2)
        self.bn1 = nn.BatchNorm2d(64 * widen)
        self.fc = nn.Linear(64 * widen, classes)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn1(self.block3(self.block2(self.block1(self.conv1(x)))))
        return self.fc(F.adaptive_avg_pool2d(F.relu(out), 1).flatten(1))


NETWORKS = {"resnet18": ResNet18, "wrn32": WideResNet34}


@torch.no_grad()
def released(arch: str, space: str, seed: int = 0, classes: int = 10, width: int | None = None) -> nn.Module:
    """A network in eval mode whose every tensor is random, so that no two could be exchanged unnoticed."""
    kind = NETWORKS[arch]
    network = kind(space, classes=classes) if width is None else kind(space, width, classes)
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        drawn = torch.rand(tensor.shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            tensor.fill_(1000 * drawn)
        elif tensor.dim() in (2, 4) and tensor.shape[0] > 1:  # convolutions and the linear layer
            tensor.copy_((drawn - 0.5) * 2 * math.sqrt(6 / tensor[0].numel()))
        else:
            tensor.copy_(drawn + 0.5 if name.endswith(("weight", "running_var")) else drawn - 0.5)
    return network.eval()


def on_path(network: nn.Module, choices: tuple[int, ...], images: Tensor) -> Tensor:
    """Logits of [0, 1] images with these options, in the order in which the network was written."""
    layers = [module for module in network.modules() if isinstance(module, Chosen)]
    for layer, number in zip(layers, choices, strict=True):
        layer.number = number
    mean, std = (torch.tensor(values).to(images.dtype).view(1, 3, 1, 1) for values in (MEAN, STD))
    return network((images - mean) / std)


def wrapped(network: nn.Module) -> dict[str, Tensor]:
    """The state_dict as DataParallel names it."""
    return {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
