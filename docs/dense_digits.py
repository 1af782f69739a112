"""A segmentation network for scanned digits, trained here, and a folder of images with masks and boxes to attack it on.

    python docs/dense_digits.py FOLDER
    rnabench dense lraspp_mobilenet_v3_large=FOLDER/lraspp.safetensors --data-dir FOLDER/dense-digits --classes 11

One of scikit-learn's digits (real handwriting), 36 to 52 pixels large, lies on grey paper of 64x64 pixels; its mask is
its class, 1 to 10 for the digits 0 to 9, where there is ink. Nothing is black or white, so that a small change of a
pixel stays within [0, 1]. Four minutes on one slow core. Training and test digits are those of `--dataset digits`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from rnabench.data.images import ImageSet
from rnabench.dense.segmentation import MEAN, STD
from rnabench.dense.weights import build
from rnabench.seeding import stream
from rnabench.settings.datasets import DATASETS, DataSettings

NETWORK, CLASSES, SIDE = "lraspp_mobilenet_v3_large", 11, 64
PAPER, INK, THRESHOLD = 0.2, 0.6, 0.4  # of the paper, added by full ink, and what counts as ink
TEST_IMAGES, BATCH, STEPS, RATE = 64, 16, 700, 3e-3
BACKGROUND = 0.3  # what a pixel of paper, of which there are five to one of ink, counts in the loss


def page(digit: Tensor, label: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """An image [3, 64, 64] in [0, 1] and its mask int64 [64, 64], of a digit [32, 32] in [0, 1] at a random place."""
    size = int(torch.randint(36, 53, (), generator=generator))
    top, left = torch.randint(0, SIDE - size + 1, (2,), generator=generator).tolist()
    ink = torch.zeros(SIDE, SIDE)
    ink[top:top + size, left:left + size] = F.interpolate(digit[None, None], (size, size), mode="bilinear")[0, 0]
    return (PAPER + INK * ink).expand(3, -1, -1), torch.where(ink > THRESHOLD, label + 1, 0)


def pages(digits: ImageSet, chosen: list[int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    grey = torch.from_numpy(digits.images[chosen][..., 0]).float() / 255
    made = [page(digit, int(digits.labels[each]), generator) for digit, each in zip(grey, chosen, strict=True)]
    return torch.stack([image for image, _ in made]), torch.stack([mask for _, mask in made])


def write_test(digits: ImageSet, folder: Path) -> None:
    images, masks = pages(digits, list(range(TEST_IMAGES)), stream(0, "test pages"))
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    listed, boxes = [], []
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        name, ink = f"{number:04}.png", mask.nonzero()
        (top, left), (bottom, right) = ink.amin(0).tolist(), (ink.amax(0) + 1).tolist()
        Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy()).save(folder / "images" / name)
        Image.fromarray(mask.byte().numpy()).save(folder / "masks" / name)
        listed.append({"id": number, "file_name": name})
        boxes.append({"id": number, "image_id": number, "category_id": int(mask.max()),
                      "bbox": [left, top, right - left, bottom - top]})
    (folder / "boxes.json").write_text(json.dumps({"images": listed, "annotations": boxes}))


def train(digits: ImageSet) -> dict[str, Tensor]:
    """The weights after all steps of Adam, whose rate rises and falls (one cycle)."""
    torch.manual_seed(0)
    network, generator = build(NETWORK, CLASSES), stream(0, "training pages")
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.05  # torchvision's 0.01 is for longer trainings
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS, pct_start=0.2)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    weights = torch.tensor([BACKGROUND] + [1.0] * (CLASSES - 1))
    started = time.perf_counter()
    for step in range(STEPS):
        chosen = torch.randint(len(digits), (BATCH,), generator=generator).tolist()
        images, masks = pages(digits, chosen, generator)
        loss = F.cross_entropy(network((images - mean) / std)["out"], masks, weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            took = time.perf_counter() - started
            print(f"step {step + 1} of {STEPS}: loss {loss.item():.3f}, {took:.0f} s", flush=True)
    return network.state_dict()


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("expected one folder: python docs/dense_digits.py FOLDER")
    folder, keys = Path(sys.argv[1]), DataSettings(dataset="digits")
    training, test = (DATASETS["digits"].load(split, keys) for split in ("train", "test"))
    write_test(test, folder / "dense-digits")
    assert len(np.intersect1d(training.indices, test.indices)) == 0
    save_file({name: tensor.contiguous() for name, tensor in train(training).items()}, folder / "lraspp.safetensors")


if __name__ == "__main__":
    main()
