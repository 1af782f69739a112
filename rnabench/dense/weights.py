"""Networks from files: a name of torchvision's, and weights that are read without unpickling objects."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torchvision.models import detection, get_model, list_models, segmentation

from rnabench.dense.detection import Detection
from rnabench.dense.network import DenseNetwork
from rnabench.dense.segmentation import Segmentation
from rnabench.errors import CheckpointError, InvalidValue, RnabenchError, one_of
from rnabench.model.saved import check_weights
from rnabench.seeding import globals_at

COUNTER = ".num_batches_tracked"  # torchvision's own files have none for detectors; nothing depends on them
HEADS = ("classifier.4.weight", "classifier.low_classifier.weight", "roi_heads.box_predictor.cls_score.weight")


def kinds() -> dict[str, type[DenseNetwork]]:
    """What can be attacked, by torchvision's name. Detectors are those with proposals and no other parts."""
    detectors = [name for name in list_models(module=detection) if name.startswith("fasterrcnn_")]
    return dict.fromkeys(list_models(module=segmentation), Segmentation) | dict.fromkeys(detectors, Detection)


def kind_of(name: str) -> type[DenseNetwork]:
    """What a network of that name is. Raises InvalidValue, and RnabenchError where a library is missing."""
    known = kinds()
    if name not in known:
        raise InvalidValue("networks", name, one_of(known), known)
    for library in known[name].libraries:
        if find_spec(library) is None:
            raise RnabenchError(f"{library}: not installed; {name} needs it: pip install 'rnabench[dense]'")
    return known[name]


def build(name: str, classes: int, auxiliary: bool = False) -> torch.nn.Module:
    """torchvision's network of that name with random weights; `auxiliary`: with the head that some are trained with.
    Leaves torch's global generator as it was. Raises InvalidValue."""
    kind_of(name)
    more = {"aux_loss": True} if auxiliary else {}
    with globals_at():
        made: torch.nn.Module = get_model(name, weights=None, weights_backbone=None, num_classes=classes, **more)
    return made


def load_network(name: str, file: Path, classes: int, device: torch.device) -> DenseNetwork:
    """The network of that name with the weights of a .safetensors file, or of a state_dict by torch.save such as
    torchvision's own. Raises InvalidValue, and CheckpointError for weights of another network or number of classes."""
    kind = kind_of(name)
    tensors = read_tensors(file)
    network = build(name, classes, any(key.startswith("aux_classifier.") for key in tensors))
    expected = {key: tensor for key, tensor in network.state_dict().items()
                if key in tensors or not key.endswith(COUNTER)}
    head = next((tensors[key] for key in HEADS if key in tensors), None)
    if head is not None and expected.keys() == tensors.keys() and len(head) != classes:
        raise CheckpointError(f"networks: {str(file)!r} holds weights for {len(head)} classes; expected {classes} "
                              "(--classes, which counts the background)")
    try:
        check_weights(expected, tensors, f"{name} for {classes} classes", file)
    except CheckpointError as error:
        raise CheckpointError(f"networks: {str(error).removeprefix('run: ')}") from None
    for key, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise CheckpointError(f"networks: {str(file)!r} holds numbers in {key!r} that are not finite")
    network.load_state_dict(tensors, strict=False)  # names were compared above; only counters may be absent
    return kind(network.to(device), classes)


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Tensors by name. Raises CheckpointError."""
    if not file.is_file():
        raise CheckpointError(f"networks: {str(file)!r} is not a file; expected weights: NAME=FILE")
    try:
        with warnings.catch_warnings(action="ignore"):  # about the pickle's version; what is read is checked below
            tensors = load_file(file) if file.suffix == ".safetensors" else torch.load(
                file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file may raise anything
        raise CheckpointError(f"networks: {str(file)!r} cannot be read as tensors ({type(error).__name__}); expected a "
                              ".safetensors file, or a state_dict written by torch.save") from None
    if not isinstance(tensors, dict) or not tensors or not all(
            isinstance(key, str) and isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta
            for key, value in tensors.items()):
        raise CheckpointError(f"networks: {str(file)!r} holds no state_dict; expected tensors by name and nothing else")
    return tensors
