"""Random Normalization Aggregation, and how to judge it, in one file that reads from top to bottom.

    python examples/idea.py        # a minute on a CPU; needs torch and scikit-learn, nothing of rnabench

The paper: Dong, Chen, Wang, Xu, "Random Normalization Aggregation for Adversarial Defense", NeurIPS 2022. Its idea: an
adversarial image that was made for one kind of normalisation fools a network with another kind less often. So let every
layer hold several, and draw one of them anew, in each layer, for every forward pass. Such a choice is a *path*.
"""

from __future__ import annotations

import sys

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

EPS, STEP = 0.2, 0.05  # how far each pixel, in [0, 1], may move, and how far in a step of PGD


class RandomNorm(nn.Module):
    """The paper's module: several normalisers of the same channels, of which `choice` says which one runs."""

    def __init__(self, channels: int, kinds: str) -> None:
        super().__init__()
        made = {"bn": lambda: nn.BatchNorm2d(channels), "in": lambda: nn.InstanceNorm2d(channels, affine=True)}
        self.options = nn.ModuleList(made[kind]() for kind in kinds.split("+"))
        self.choice = 0

    def forward(self, x: Tensor) -> Tensor:
        return self.options[self.choice](x)


def network(kinds: str) -> nn.Sequential:
    """Six layers for images of 8 x 8: with two kinds of normalisers, 2^6 = 64 networks that share their weights."""
    layers: list[nn.Module] = []
    for before, channels, stride in ((1, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)):
        layers += [nn.Conv2d(before, channels, 3, stride, 1, bias=False), RandomNorm(channels, kinds), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def draw(net: nn.Module) -> None:
    """Draw a path: in every layer, each normaliser with the same probability."""
    for layer in net.modules():
        if isinstance(layer, RandomNorm):
            layer.choice = int(torch.randint(len(layer.options), ()))


def pgd(net: nn.Module, images: Tensor, labels: Tensor, steps: int, draws: int = 0) -> Tensor:
    """Projected gradient descent: steps along the sign of the loss's gradient, within EPS of the image.

    With `draws` 0 it attacks the path that the network is on: the paper's attacker, who drew one like anybody else.
    Else it is an attacker who knows that paths are drawn: each step follows the mean gradient over so many fresh ones
    (EOT, expectation over transformation).
    """
    found = (images + EPS * (2 * torch.rand_like(images) - 1)).clamp(0, 1)
    for _ in range(steps):
        gradient = torch.zeros_like(images)
        for _ in range(max(1, draws)):
            if draws:
                draw(net)
            asked = found.detach().requires_grad_()
            gradient += torch.autograd.grad(F.cross_entropy(net(asked), labels), asked)[0]
        found = found + STEP * gradient.sign()
        found = torch.min(torch.max(found, images - EPS), images + EPS).clamp(0, 1).detach()
    return found


def train(net: nn.Module, images: Tensor, labels: Tensor, epochs: int) -> None:
    """The paper's Algorithm 1: attack one path, then draw another, and teach that one to withstand the images."""
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.1, epochs * -(-len(images) // 64))
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(64):
            net.eval()  # the attack leaves the running statistics alone
            draw(net)
            attacked = pgd(net, images[rows], labels[rows], steps=5)
            net.train()
            draw(net)
            optimiser.zero_grad()
            F.cross_entropy(net(attacked), labels[rows]).backward()
            optimiser.step()
            schedule.step()
    net.eval()


@torch.no_grad()
def right(net: nn.Module, images: Tensor, labels: Tensor, redraw: bool = True) -> Tensor:
    """Which images are classified correctly; on a fresh path, unless the network is to stay on the one it is on."""
    if redraw:
        draw(net)
    return (net(images).argmax(1) == labels).float()


def judge(net: nn.Module, images: Tensor, labels: Tensor, repeats: int) -> dict[str, Tensor]:
    """Under every protocol, which images are right in which repetition, [repeats, N]. The protocols differ in what the
    attacker knows of the path that will predict:

    - `paper`: nothing; one path is attacked, another predicts. What is left is robustness *and* luck.
    - `same-path`: everything. What is left is the robustness of single paths; `paper` less this is the luck.
    - `eot`: how paths are drawn, as anybody does who has read the paper. The number to quote.
    """
    found: dict[str, list[Tensor]] = {"natural": [], "paper": [], "same-path": [], "eot": []}
    for _ in range(repeats):
        found["natural"].append(right(net, images, labels))
        draw(net)
        attacked = pgd(net, images, labels, steps=20)  # leaves the network on the path that it attacked
        found["same-path"].append(right(net, attacked, labels, redraw=False))
        found["paper"].append(right(net, attacked, labels))
    attacked = pgd(net, images, labels, steps=20, draws=10)
    found["eot"] = [right(net, attacked, labels) for _ in range(repeats)]
    return {name: torch.stack(each) for name, each in found.items()}


def interval(outcomes: Tensor) -> str:
    """Mean in per cent and its 95 % interval, of [repeats, N]. Both are samples: other images could have been in the
    test set, and other paths could have been drawn; an interval that counts one of them only is too narrow."""
    images, paths = outcomes.mean(0), outcomes.mean(1)
    variance = images.var() / len(images) + (paths.var() / len(paths) if len(paths) > 1 else 0.0)
    return f"{100 * outcomes.mean():5.1f} ± {196 * variance.sqrt():.1f}"


def main(epochs: int = 15, repeats: int = 10, test_images: int = 397) -> None:
    torch.manual_seed(0)
    digits = load_digits()
    images, labels = torch.tensor(digits.images / 16).float()[:, None], torch.tensor(digits.target)
    shuffled = torch.randperm(len(images))
    learnt, tested = shuffled[:1400], shuffled[1400:][:test_images]
    print(f"{'':8}{'natural':>14}{'paper':>14}{'same-path':>14}{'eot':>14}")
    for kinds in ("bn", "bn+in"):
        net = network(kinds)
        train(net, images[learnt], labels[learnt], epochs)
        found = judge(net, images[tested], labels[tested], repeats if "+" in kinds else 1)
        print(f"{kinds:8}" + "".join(f"{interval(outcomes):>14}" for outcomes in found.values()))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
