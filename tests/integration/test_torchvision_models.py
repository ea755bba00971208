"""A small network of each of torchvision's families, pruned by half: the thin one computes what the masked one does.

The benchmark `torchvision_coverage.py` does this for all of them; its random weights and inputs are used here too.
"""

from __future__ import annotations

import copy
import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import secateur
from secateur.thinning.reference import reference
from secateur_models.torchvision_import import import_torchvision

TOLERANCES = {torch.float64: 1e-11, torch.float32: 1e-5}
PICTURE, CLIP = (3, 64, 64), (3, 8, 32, 32)


def listed(name: str, **arguments: Any) -> nn.Module:
    arguments = {"num_classes": 11, **arguments} if "raft" not in name else arguments
    model: nn.Module = import_torchvision().models.get_model(name, weights=None, **arguments)
    return model


def vision_transformer() -> nn.Module:
    kind = import_torchvision().models.VisionTransformer
    model: nn.Module = kind(64, 16, num_layers=2, num_heads=4, hidden_dim=48, mlp_dim=64, num_classes=11)
    return model


def swin(version: int, space: int) -> nn.Module:
    """Windows of 4, so that some are shifted, and a map that does not fill them."""
    models: Any = import_torchvision().models
    kind, options = models.SwinTransformer, {}
    if space == 3:
        kind = models.video.SwinTransformer3d
    elif version == 2:
        module = models.swin_transformer
        options = {"block": module.SwinTransformerBlockV2, "downsample_layer": module.PatchMergingV2}
    sizes = [[2, 4, 4], [4, 4, 4]] if space == 3 else [[4, 4], [4, 4]]
    model: nn.Module = kind(sizes[0], 24, [2, 2], [3, 6], sizes[1], num_classes=11, **options)
    return model


def maxvit() -> nn.Module:
    kind = import_torchvision().models.MaxVit
    model: nn.Module = kind((32, 32), 16, 4, [16, 32], [1, 1], 8, 0.0, num_classes=11)
    return model


def mvit() -> nn.Module:
    module: Any = import_torchvision().models.video.mvit
    kernels = ([3, 3, 3], [3, 3, 3])
    blocks = [
        module.MSBlockConfig(1, 16, 32, *kernels, [1, 1, 1], [1, 4, 4]),
        module.MSBlockConfig(2, 32, 32, *kernels, [1, 2, 2], [1, 2, 2]),
    ]
    options = {"residual_pool": True, "residual_with_cls_embed": False, "rel_pos_embed": True, "proj_after_attn": True}
    model: nn.Module = module.MViT((32, 32), 8, blocks, num_classes=11, **options)
    return model


def pyramid() -> nn.Module:
    """What detectors look at: a residual network and the pyramid on it."""
    import_torchvision()
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    model: nn.Module = resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=5
    )
    return model


# How a network is built, its input, and the share of its parameters that may be left: exact dims only, and all.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], float, float]] = {
    **{
        name: (partial(listed, name), PICTURE, left, left)
        for name, left in {
            "resnet18": 0.27,
            "densenet121": 0.27,
            "mobilenet_v2": 0.30,
            "mobilenet_v3_small": 0.35,
            "mnasnet0_5": 0.35,
            "efficientnet_b0": 0.30,
            "regnet_y_400mf": 0.2,
            "shufflenet_v2_x0_5": 0.45,
            "squeezenet1_1": 0.3,
        }.items()
    },
    "googlenet": (partial(listed, "googlenet", init_weights=False), PICTURE, 0.27, 0.27),
    "lraspp": (partial(listed, "lraspp_mobilenet_v3_large", weights_backbone=None), PICTURE, 0.3, 0.3),
    "convnext_tiny": (partial(listed, "convnext_tiny"), PICTURE, 0.55, 0.26),
    "vision transformer": (vision_transformer, PICTURE, 0.95, 0.3),
    "swin": (partial(swin, 1, 2), (3, 40, 40), 0.9, 0.3),
    "swin v2": (partial(swin, 2, 2), (3, 40, 40), 0.9, 0.3),
    "maxvit": (maxvit, (3, 32, 32), 0.9, 0.3),
    "r3d_18": (partial(listed, "r3d_18"), CLIP, 0.27, 0.27),
    "swin 3d": (partial(swin, 1, 3), CLIP, 0.9, 0.3),
    "mvit": (mvit, CLIP, 0.9, 0.35),
    "raft_small": (partial(listed, "raft_small"), (3, 128, 128), 0.4, 0.4),
    "pyramid": (pyramid, PICTURE, 0.3, 0.3),
}


@pytest.fixture(scope="module")
def zoo() -> Iterator[ModuleType]:
    """The benchmark's module that draws weights and inputs."""
    path = Path(__file__).parents[2] / "benchmarks" / "torchvision_zoo.py"
    spec = importlib.util.spec_from_file_location("torchvision_zoo", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    sys.modules[spec.name] = module  # attrs looks annotations up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]
    torch.set_num_threads(threads)


def inputs_of(name: str, shape: tuple[int, ...], zoo: ModuleType) -> tuple[Any, ...]:
    drawn = tuple(zoo.pictures(2, *shape) for _ in range(1 + (name == "raft_small")))
    return (*drawn, 2) if name == "raft_small" else drawn


def tensors(made: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(made) if isinstance(leaf, Tensor)]


@pytest.mark.parametrize("name", NETWORKS)
def test_thin_equals_masked_and_trains(name: str, zoo: ModuleType) -> None:
    build, shape, *most = NETWORKS[name]
    torch.manual_seed(0)
    dense = build()
    zoo.randomise(dense, inputs_of(name, shape, zoo))
    dtype = torch.float32 if name == "raft_small" else torch.float64  # it makes float32 coordinates, whatever it gets
    dense.to(dtype)
    drawn = (inputs_of(name, shape, zoo), inputs_of(name, shape, zoo))
    example, fresh = pytree.tree_map_only(Tensor, lambda tensor: tensor.to(dtype), drawn)
    for renormalise, left in zip((False, True), most, strict=True):
        plan = secateur.plan(dense, example, prune=0.5, renormalise=renormalise)
        if renormalise and not any(dim.renormalises for dim in plan.dims):
            break
        thin = copy.deepcopy(dense)
        report = secateur.thin(thin, plan, verify=False)
        assert report.share <= left
        with torch.no_grad():
            masked = reference(dense, plan, fresh) if renormalise else tensors(secateur.masked(dense, plan)(*fresh))
            found = tensors(thin(*fresh))
        assert [tensor.shape for tensor in masked] == [tensor.shape for tensor in found]
        for expected, given in zip(masked, found, strict=True):
            scale = expected.abs().max()
            assert (expected[0] - expected[1]).abs().max() > 1e-4 * scale  # what two inputs give differs
            assert (expected - given).abs().max() <= TOLERANCES[dtype] * scale
    thin.train()
    loss = torch.stack([tensor.square().mean() for tensor in tensors(thin(*fresh))]).sum()
    loss.backward()
    torch.optim.SGD(thin.parameters(), lr=1e-6).step()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in thin.parameters())
