"""JPEG of a random quality: a defence by a gradient that is not there (Guo et al., ICLR 2018, at random)."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from rnabench.model.defended import Undefended
from rnabench.path.choice import ChoiceLayer
from rnabench.settings.parts import defence

QUALITIES = 30, 50, 70, 90


class Jpeg(nn.Module):
    """RGB images in [0, 1] encoded and decoded, image by image on the CPU. No gradient comes through; one of zero says
    so to autograd."""

    on_host = True  # not part of a recorded or compiled network

    def __init__(self, quality: int) -> None:
        super().__init__()
        self.quality = quality

    def forward(self, x: Tensor) -> Tensor:
        pixels = (255 * x.detach()).round().clamp(0, 255).to(device="cpu", dtype=torch.uint8).permute(0, 2, 3, 1)
        decoded = []
        for image in pixels.numpy():
            Image.fromarray(image).save(file := BytesIO(), "JPEG", quality=self.quality)
            decoded.append(np.asarray(Image.open(file)))
        return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).to(x) / 255 + 0 * x


@defence("jpeg", options=lambda: len(QUALITIES))
def jpeg(parts: Undefended) -> nn.Sequential:
    """Quality 30, 50, 70 or 90."""
    choice = ChoiceLayer({f"quality-{quality}": Jpeg(quality) for quality in QUALITIES})
    return nn.Sequential(nn.Sequential(choice, parts.normalization), parts.network)
