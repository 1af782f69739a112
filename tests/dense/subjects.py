"""What dense prediction is tried on: folders of a few tiny images, and torchvision's smallest networks, untrained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from rnabench.dense.segmentation import Segmentation
from rnabench.dense.weights import build

CLASSES = 4
SEGMENTS, DETECTS = "lraspp_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"


def write_folder(folder: Path, images: int = 3, side: int = 32) -> Path:
    """Grey images with a bright square each: class 1, 2 or 3, and its box."""
    random = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    listed, boxes = [], []
    for number in range(images):
        image, mask = random.integers(80, 120, (side, side, 3)), np.zeros((side, side), dtype=np.uint8)
        image[8:24, 4:20], mask[8:24, 4:20] = 180, 1 + number % (CLASSES - 1)
        mask[0] = 255
        Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
        listed.append({"id": number, "file_name": f"{number}.png"})
        boxes.append({"image_id": number, "category_id": 1 + number % (CLASSES - 1), "bbox": [4, 8, 16, 16]})
    write_boxes(folder, {"images": listed, "annotations": boxes})
    return folder


def write_boxes(folder: Path, content: Mapping[str, Any]) -> None:
    (folder / "boxes.json").write_text(json.dumps(content))


def lively_network(classes: int = CLASSES, seed: int = 0) -> nn.Module:
    """Untrained, with statistics of random images and scaled so that its answers differ from pixel to pixel."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = build(SEGMENTS, classes)
        for parameter in network.parameters():
            if parameter.dim() > 1:
                nn.init.kaiming_normal_(parameter)
        take_statistics(network)
    return network


def take_statistics(network: nn.Module) -> None:
    """Running statistics of random images in place of none, so that answers are not all alike."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches
    with torch.no_grad():
        network.train()(torch.randn(8, 3, 64, 64))
    network.eval()


def lively_segmentation(seed: int = 0) -> Segmentation:
    return Segmentation(lively_network(seed=seed), CLASSES)


def save(network: nn.Module, file: Path) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, file)
    return file
