"""foolbox, ART, torchattacks and RobustBench on a network of rnabench, unchanged: `python docs/libraries.py RUN`.

All four take a torch module from [0, 1] images to logits. `rnabench.load_model(RUN)` is one that draws a path in every
forward pass (what is attacked then is `resample`, one draw a step); its `.on(path)` is one that stays on that path
(`same-path`). None of them averages over draws: that is `rnabench attack --protocols eot:20`.

    pip install 'rnabench[libraries]'
    pip install robustbench git+https://github.com/fra31/auto-attack  # RobustBench imports it by that name
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import rnabench
from rnabench.data.sources import evaluation_data
from rnabench.jobs.target import attacked_data
from rnabench.model.runs import read_run

EPS, STEP, STEPS, IMAGES, DRAWS = 8 / 255, 2 / 255, 10, 128, 20


def by_foolbox(network: nn.Module, images: Tensor, labels: Tensor, eps: float = EPS, step: float = STEP,
               steps: int = STEPS, start: bool = True) -> Tensor:
    """Adversarial images of PGD, from a random start or the images themselves; so are those of the next two."""
    import foolbox

    model = foolbox.PyTorchModel(network, bounds=(0, 1), device=images.device)
    attack = foolbox.attacks.LinfPGD(abs_stepsize=step, steps=steps, random_start=start)
    _, found, _ = attack(model, images, labels, epsilons=eps)
    return found


def by_art(network: nn.Module, images: Tensor, labels: Tensor, eps: float = EPS, step: float = STEP,
           steps: int = STEPS, start: bool = True) -> Tensor:
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    classes = network(images[:1]).shape[1]
    model = PyTorchClassifier(network, nn.CrossEntropyLoss(), tuple(images.shape[1:]), classes, clip_values=(0, 1),
                              device_type="gpu" if images.is_cuda else "cpu")
    attack = ProjectedGradientDescent(model, eps=eps, eps_step=step, max_iter=steps, num_random_init=int(start),
                                      batch_size=len(images), verbose=False)
    return torch.from_numpy(attack.generate(images.cpu().numpy(), labels.cpu().numpy())).to(images.device)


def by_torchattacks(network: nn.Module, images: Tensor, labels: Tensor, eps: float = EPS, step: float = STEP,
                    steps: int = STEPS, start: bool = True) -> Tensor:
    import torchattacks

    return torchattacks.PGD(network, eps=eps, alpha=step, steps=steps, random_start=start)(images, labels)


def by_robustbench(network: nn.Module, images: int, eps: float = EPS, data_dir: str = "data") -> tuple[float, float]:
    """Natural accuracy, and that under standard AutoAttack, on the first images of CIFAR-10's test set."""
    from robustbench.eval import benchmark

    return benchmark(network, n_examples=images, dataset="cifar10", threat_model="Linf", eps=eps, data_dir=data_dir)


LIBRARIES: dict[str, Callable[..., Tensor]] = {"foolbox": by_foolbox, "ART": by_art, "torchattacks": by_torchattacks}


def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The mean over draws, where the network draws."""
    with torch.no_grad():
        return float(torch.stack([network(images).argmax(1) == labels for _ in range(DRAWS)]).float().mean())


def main(arguments: list[str]) -> None:
    if len(arguments) != 1:
        sys.exit("expected one run folder: python docs/libraries.py RUN")
    run = Path(arguments[0])
    network = rnabench.load_model(run)  # in evaluation mode
    path = network.space.sample(torch.Generator().manual_seed(0))
    data = evaluation_data(attacked_data(read_run(run)["recipe"], {}), IMAGES, torch.device("cpu"))
    batch = next(data.source.in_order(IMAGES))
    for view, module in (("draws a path in every forward", network), ("one path", network.on(path))):
        print(f"{view}: natural {accuracy(module, batch.images, batch.labels):.1%}")
        for name, attacked in LIBRARIES.items():
            try:
                found = attacked(module, batch.images, batch.labels)
            except ModuleNotFoundError as error:
                print(f"  {name}: not installed ({error})")
                continue
            print(f"  {name}, PGD-{STEPS}: {accuracy(module, found, batch.labels):.1%}")
        if data.name == "cifar10":
            print(f"  RobustBench: {by_robustbench(module, IMAGES)}")


if __name__ == "__main__":
    main(sys.argv[1:])
