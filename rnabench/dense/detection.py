"""Detection by torchvision's Faster R-CNNs: boxes with classes, scored by the mean average precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.models.detection.transform import resize_boxes
from torchvision.ops import box_iou

from rnabench.dense.folder import BOXES, Example
from rnabench.dense.network import DenseNetwork, Score, Seen, Targets

DENSE_NMS, PROPOSALS = 0.9, 3000  # so that a changed image's proposals are near one of those attacked (section 2.3.2)
LEAST_IOU = LEAST_SCORE = 0.1
AT_IOU = 0.5  # VOC's


class Detection(DenseNetwork):
    """Targets are proposals near an object that the network takes for one of its class."""

    needs, measure, steps = BOXES, f"mAP@{AT_IOU}", 150
    libraries = "torchmetrics", "pycocotools"

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__(network, classes)
        self.parts: Any = network  # whose attributes torch does not know the types of
        rpn: Any = self.parts.rpn
        many = {"training": PROPOSALS, "testing": PROPOSALS}
        # the same head and anchors; the numbers before `many` are of training alone
        self._proposals = RegionProposalNetwork(rpn.anchor_generator, rpn.head, 0.7, 0.3, 256, 0.5, many, many,
                                                DENSE_NMS, rpn.score_thresh).eval()

    def targets(self, example: Example) -> Targets:
        """The proposals with an IoU above 0.1 to a box and a score above 0.1 for that box's class, which is theirs; of
        several such boxes the one with the largest IoU counts (section 2.3.2)."""
        with torch.no_grad():
            images, features = self._features(example.image)
            proposals = self._proposals(images, features)[0][0]
            scores = self._logits(features, proposals, images.image_sizes).softmax(1)
        if not len(example.labels) or not len(proposals):
            return Targets(example.labels[:0], lambda image: image.new_zeros(0, self.classes))
        boxes = resize_boxes(example.boxes, list(example.image.shape[-2:]), list(images.image_sizes[0]))
        overlap = box_iou(proposals, boxes)
        fits = (overlap > LEAST_IOU) & (scores[:, example.labels] > LEAST_SCORE)
        largest, which = overlap.masked_fill(~fits, -1.0).max(1)
        kept = proposals[largest > 0]

        def logits_of(image: Tensor) -> Tensor:
            changed, seen = self._features(image)
            return self._logits(seen, kept, changed.image_sizes)

        return Targets(example.labels[which[largest > 0]], logits_of)

    def _features(self, image: Tensor) -> tuple[Any, Any]:
        images, _ = self.parts.transform([image])
        return images, self.parts.backbone(images.tensors)

    def _logits(self, features: Any, proposals: Tensor, sizes: Any) -> Tensor:
        heads = self.parts.roi_heads
        logits: Tensor = heads.box_predictor(heads.box_head(heads.box_roi_pool(features, [proposals], sizes)))[0]
        return logits.float()

    def seen(self, image: Tensor, example: Example) -> Seen:
        """Its boxes with classes and scores, and those that are there."""
        with torch.no_grad():
            (found,) = self.network([image])
        return {name: {part: values.tolist() for part, values in parts.items()} for name, parts in (
            ("found", found), ("there", {"boxes": example.boxes, "labels": example.labels}))}

    @classmethod
    def score(cls, seen: Sequence[Seen], seed: int) -> Score:
        """At an IoU of 0.5, by COCO's interpolation; without an interval."""
        from torchmetrics.detection import MeanAveragePrecision

        metric = MeanAveragePrecision(iou_thresholds=[AT_IOU])
        found, there = ([_tensors(each[side]) for each in seen] for side in ("found", "there"))
        metric.update(found, there)
        return Score(max(float(metric.compute()["map"]), 0.0))  # -1 where there is no box at all


def _tensors(parts: dict[str, Any]) -> dict[str, Tensor]:
    made = {"boxes": torch.tensor(parts["boxes"]).view(-1, 4),
            "labels": torch.tensor(parts["labels"], dtype=torch.int64)}
    return made | ({"scores": torch.tensor(parts["scores"])} if "scores" in parts else {})
