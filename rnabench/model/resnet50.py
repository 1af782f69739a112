"""ImageNet's ResNet-50 at 224 px: torchvision's network with its BN layers replaced (53), and a ReLU for each place."""

from __future__ import annotations

from torch import nn

from rnabench.errors import InvalidValue
from rnabench.model.bottleneck import Bottleneck
from rnabench.model.ends import with_ends
from rnabench.model.normalizers import NormFactory
from rnabench.settings.architectures import architecture


@architecture("resnet50", width=64, width_means="channels of the stem", image_size=224)
def resnet50(norm: NormFactory, classes: int, width: int) -> nn.Module:
    """Images [N, 3, H, W] to logits [N, classes]. Raises InvalidValue for a width other than torchvision's 64."""
    from torchvision.models.resnet import ResNet

    if width != 64:
        raise InvalidValue("width", width, "64 for resnet50, whose size is torchvision's")
    network: nn.Module = ResNet(Bottleneck, [3, 4, 6, 3], num_classes=classes, norm_layer=norm)
    for name in ("layer1", "layer2", "layer3", "layer4"):
        blocks = [block for block in network.get_submodule(name).children()
                  if isinstance(block, Bottleneck)]
        network.set_submodule(name, with_ends([(block, block.outputs) for block in blocks], [len(blocks) - 1]))
    return network
