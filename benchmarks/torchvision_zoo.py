"""Every network of torchvision, small inputs for it, and random weights that carry a signal from end to end.

The compiled operators that detectors call are replaced by slow ones in Python, under their own names, where torchvision
was installed without them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from fnmatch import fnmatch
from functools import partial
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from secateur_models.torchvision_import import import_torchvision

GROUPS = {
    "classification": "torchvision.models",
    "segmentation": "torchvision.models.segmentation",
    "video": "torchvision.models.video",
    "flow": "torchvision.models.optical_flow",
    "detection": "torchvision.models.detection",
}
BATCH = 2

# Shapes of one example without the batch, by the longest beginning of the name that fits; the smallest that exercise
# all that a network does: windows that are shifted and padded, auxiliary heads, positions.
SHAPES = {
    "classification": {
        "": (3, 64, 64),
        "inception": (3, 299, 299),
        "maxvit": (3, 224, 224),
        "swin": (3, 112, 112),
        "swin_v2": (3, 128, 128),
        "vit_h_14": (3, 56, 56),
    },
    "segmentation": {"": (3, 64, 64)},
    "video": {"": (3, 8, 48, 48), "s3d": (3, 14, 224, 224), "mvit": (3, 16, 224, 224), "swin3d": (3, 8, 64, 64)},
    "flow": {"": (3, 128, 128)},
    "detection": {"": (3, 128, 128), "ssd300": (3, 300, 300), "ssdlite320": (3, 320, 320)},
}
# What networks are built with, by group or pattern of names.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "googlenet": {"init_weights": False},
    "inception_v3": {"init_weights": False},
    "vit_*": {"image_size": 64},
    "vit_h_14": {"image_size": 56},
    "segmentation": {"weights_backbone": None, "aux_loss": True},
    "lraspp_*": {"weights_backbone": None},
    "detection": {"weights_backbone": None, "num_classes": 11},
    "*rcnn*": {"min_size": 128, "max_size": 160, "box_score_thresh": 0.0, "box_detections_per_img": 20}
    | {f"rpn_{when}_nms_top_n_{mode}": 50 for when in ("pre", "post") for mode in ("train", "test")},
    "retinanet*": {"min_size": 128, "max_size": 160, "score_thresh": 0.0, "detections_per_img": 20},
    "fcos*": {"min_size": 128, "max_size": 160, "score_thresh": 0.0, "detections_per_img": 20},
    "ssd*": {"score_thresh": 0.0, "detections_per_img": 20},
}


@frozen
class Network:
    """One network of torchvision, by its name there, in one precision."""

    name: str
    group: str
    dtype: torch.dtype = torch.float32

    def build(self) -> nn.Module:
        """A new one, with weights that carry a signal; the global random numbers decide."""
        models: Any = import_torchvision().models
        if self.group == "detection":
            stand_in()
        model: nn.Module = models.get_model(self.name, weights=None, **self.arguments()).to(self.dtype)
        randomise(model, self.inputs())
        if self.group == "detection":  # scores near 0 or 1 are the same for many boxes
            for layer in emitting(self, model):
                for parameter in layer.parameters():
                    parameter.data *= 0.1
        return model

    def arguments(self) -> dict[str, Any]:
        """What it is built with, so that small inputs fit and heads are there."""
        chosen = {} if self.name.startswith("lraspp") else dict(ARGUMENTS.get(self.group, {}))
        for pattern in sorted((pattern for pattern in ARGUMENTS if fnmatch(self.name, pattern)), key=len):
            chosen |= ARGUMENTS[pattern]
        return chosen

    def inputs(self, batch: int = BATCH) -> tuple[Any, ...]:
        """New random inputs."""
        shapes = SHAPES[self.group]
        shape = shapes[max((beginning for beginning in shapes if self.name.startswith(beginning)), key=len)]
        drawn = pictures(batch, *shape).to(self.dtype)
        if self.group == "flow":
            return drawn, pictures(batch, *shape).to(self.dtype), 3
        return ([picture.sigmoid() for picture in drawn],) if self.group == "detection" else (drawn,)

    def loss(self, model: nn.Module) -> Tensor:
        """What a step of training on new inputs lowers."""
        inputs = self.inputs()
        if self.group == "detection":
            inputs = (*inputs, [self._target(image) for image in inputs[0]])
        tensors = [leaf for leaf in pytree.tree_leaves(model(*inputs)) if isinstance(leaf, Tensor)]
        return torch.stack([tensor.square().mean() for tensor in tensors]).sum()

    def _target(self, image: Tensor) -> dict[str, Tensor]:
        boxes = torch.tensor([[10.0, 12.0, 60.0, 70.0], [40.0, 30.0, 110.0, 120.0]])
        target = {"boxes": boxes, "labels": torch.tensor([1, 1 if "keypoint" in self.name else 3])}
        if "mask" in self.name:
            target["masks"] = (torch.rand(2, *image.shape[1:]) > 0.5).to(torch.uint8)
        if "keypoint" in self.name:
            target["keypoints"] = torch.cat([boxes[:, None, :2] + 20 * torch.rand(2, 17, 2), torch.ones(2, 17, 1)], -1)
        return target


def networks(groups: list[str], names: list[str], dtype: torch.dtype = torch.float32) -> list[Network]:
    """The networks of some groups, or those that are named; an unknown name is a `KeyError`."""
    import_torchvision()
    models = importlib.import_module("torchvision.models")
    listed = {
        name: Network(name, group, dtype)
        for group, module in GROUPS.items()
        for name in models.list_models(module=importlib.import_module(module))
    }
    return [listed[name] for name in names] or [network for network in listed.values() if network.group in groups]


def pictures(batch: int, *shape: int) -> Tensor:
    """Random inputs with large coloured areas, shape (batch, *shape).

    Of white noise alone any two pictures look the same to a network that averages over space.
    """
    axes = len(shape) - 1
    areas = 3 * torch.randn(batch, shape[0], *[4] * axes)
    mode = "bilinear" if axes == 2 else "trilinear"
    return nn.functional.interpolate(areas, size=shape[1:], mode=mode) + torch.randn(batch, *shape)


# -- weights -------------------------------------------------------------------------------------------------

NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def randomise(model: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Give a network weights that carry a signal from its inputs to its outputs, and batch norms as after training.

    No scale, shift, bias, token or table is left at 1 or 0, no head silent. Statistics of batch norms are those of the
    inputs, disturbed. Weights are drawn as in He et al. (2015, equation 10), those of networks with layer norms with a
    variance of 1 / inputs, as for linear units.
    """
    gain = 1.0 if any(isinstance(module, nn.LayerNorm) for module in model.modules()) else 2.0**0.5
    with torch.no_grad():
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                _draw(module, name, parameter, gain)
        norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        model.eval()
        for norm in norms:
            norm.momentum = 1.0
            norm.train()
        if norms:
            model(*inputs)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.running_mean += 0.3 * norm.running_var.sqrt() * torch.randn_like(norm.running_mean)
            norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.5, 2)
    model.eval()


def _draw(module: nn.Module, name: str, parameter: Tensor, gain: float) -> None:
    if isinstance(module, NORMS):
        parameter.uniform_(1, 2) if name == "weight" else parameter.normal_(0, 0.3)
    elif name.endswith("weight") and parameter.dim() > 1:
        parameter.normal_(0, gain / parameter[0].numel() ** 0.5)
    elif name.endswith("bias"):
        parameter.normal_(0, 0.1)
    elif "scale" in name:  # of layers, logits or features: about as large as it is, or as a trained one
        parameter.clamp_(min=0.3).mul_(torch.empty_like(parameter).uniform_(0.7, 1.3))
    else:  # tokens, positions, tables
        parameter.normal_(0, 0.3)


# -- operators without a compiler ----------------------------------------------------------------------------


def stand_in() -> None:
    """Give torchvision slow operators in Python where its compiled ones do not load; once for a process."""
    extension = importlib.import_module("torchvision.extension")
    boxes, align = (importlib.import_module(f"torchvision.ops.{name}") for name in ("boxes", "roi_align"))
    if extension._has_ops() or hasattr(torch.ops.torchvision, "roi_align"):
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define(
        "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width, "
        "int sampling_ratio, bool aligned) -> Tensor"
    )
    library.impl("roi_align", partial(roi_align, align._roi_align.__wrapped__), "CompositeImplicitAutograd")
    library.impl("nms", partial(nms, boxes.box_iou), "CompositeExplicitAutograd")
    stand_in.library = library  # type: ignore[attr-defined]  # a library that is collected takes its operators along
    for module in (boxes, align):
        module._assert_has_ops = lambda: None
    align._has_ops = lambda: True


def roi_align(
    slow: Callable[..., Tensor],
    data: Tensor,
    rois: Tensor,
    scale: float,
    height: int,
    width: int,
    samples: int,
    aligned: bool,
) -> Tensor:
    """Means of `samples` x `samples` points in every bin of every region, (regions, channels, height, width).

    Where there are to be as many points as a region needs, torchvision's own Python does it.
    """
    if samples <= 0:
        return slow(data, rois, scale, height, width, samples, aligned)
    made = data.new_zeros(len(rois), data.shape[1], height, width)
    left, top, right, bottom = (rois[:, 1:] * scale - 0.5 * aligned).unbind(1)
    least = 0.0 if aligned else 1.0
    y = _places(top, (bottom - top).clamp(min=least), height * samples, data.shape[2])
    x = _places(left, (right - left).clamp(min=least), width * samples, data.shape[3])
    grid = torch.stack([x[:, None].expand(-1, y.shape[1], -1), y[:, :, None].expand(-1, -1, x.shape[1])], -1)
    for image in range(len(data)):
        own = rois[:, 0] == image
        if not own.any():
            continue
        points = nn.functional.grid_sample(data[image : image + 1], grid[own].flatten(0, 1)[None], align_corners=True)
        bins = nn.functional.avg_pool2d(points, samples)[0].unflatten(1, (-1, height))
        made = made.index_put((own.nonzero()[:, 0],), bins.transpose(0, 1))
    return made


def _places(start: Tensor, length: Tensor, count: int, size: int) -> Tensor:
    """The middles of `count` parts of each interval, held within a map of a size, as `grid_sample` counts them."""
    places = start[:, None] + length[:, None] * (torch.arange(count) + 0.5) / count
    return places.clamp(0, size - 1) * 2 / max(size - 1, 1) - 1


def nms(overlaps: Callable[[Tensor, Tensor], Tensor], boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Greedy suppression: the indices of boxes that overlap no box of a higher score by more than the threshold."""
    order = scores.argsort(descending=True, stable=True)
    covers = overlaps(boxes[order], boxes[order]) > threshold
    kept = torch.ones(len(order), dtype=torch.bool)
    for place in range(len(order)):
        if kept[place]:
            kept[place + 1 :] &= ~covers[place, place + 1 :]
    return order[kept]


# -- layers that emit the outputs ------------------------------------------------------------------------------

# For tools that must be told what may not be pruned: paths whose modules emit a network's outputs. The last layer with
# weights emits those of all other networks.
EMITTING = {
    "googlenet": ("fc", "aux1.fc2", "aux2.fc2"),
    "inception": ("fc", "AuxLogits.fc"),
    "fcn": ("classifier.4", "aux_classifier.4"),
    "deeplabv3": ("classifier.4", "aux_classifier.4"),
    "lraspp": ("classifier.low_classifier", "classifier.high_classifier"),
    "raft": ("update_block.flow_head.conv2", "mask_predictor.conv"),
    "rcnn": (
        "rpn.head.cls_logits",
        "rpn.head.bbox_pred",
        "roi_heads.box_predictor",
        "roi_heads.mask_predictor.mask_fcn_logits",
        "roi_heads.keypoint_predictor",
    ),
    "retinanet": ("head.classification_head.cls_logits", "head.regression_head.bbox_reg"),
    "fcos": (
        "head.classification_head.cls_logits",
        "head.regression_head.bbox_reg",
        "head.regression_head.bbox_ctrness",
    ),
    "ssd": ("head",),
}


def emitting(network: Network, model: nn.Module) -> list[nn.Module]:
    """The layers that emit the outputs."""
    modules = dict(model.named_modules())
    paths = next((paths for word, paths in EMITTING.items() if word in network.name), ())
    found = [modules[path] for path in paths if path in modules]
    return (
        found or [module for module in modules.values() if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d)][-1:]
    )
