"""Steps on vectors: linear layers and norms, joins, and gates of maps and tokens."""

from __future__ import annotations

from secateur.testing.networks.drawing import Drawing, Feature, Step
from secateur.testing.networks.tokens import fitting, linear


def _of(drawing: Drawing) -> Feature:
    found = drawing.pick("vector")
    assert found is not None
    return found


def project(drawing: Drawing) -> None:
    """A linear layer with an activation."""
    made = linear(drawing, _of(drawing), drawing.width())
    drawing.like(made, drawing.one_of("F.relu({})", "torch.tanh({})", "F.gelu({})").format(made.name))


def norm(drawing: Drawing) -> None:
    """Batch norm, layer norm or group norm of vectors."""
    x = _of(drawing)
    groups = 2 if x.width % 2 == 0 else 1
    text = drawing.one_of(
        f"nn.BatchNorm1d({x.width})", f"nn.LayerNorm({x.width})", f"nn.GroupNorm({groups}, {x.width})"
    )
    drawing.like(x, f"{drawing.hold('norm', text)}({x.name})")


def residual(drawing: Drawing) -> None:
    """Two vectors joined element by element."""
    x = _of(drawing)
    y = fitting(drawing, x)
    drawing.like(x, drawing.one_of("{} + {}", "{} * {}", "{} - {}").format(x.name, y.name))


def concatenation(drawing: Drawing) -> None:
    """Two vectors side by side."""
    x, y = _of(drawing), _of(drawing)
    if x.width + y.width <= 32:
        drawing.like(x, f"torch.cat([{x.name}, {y.name}], dim=1)", x.width + y.width)


def modulate(drawing: Drawing) -> None:
    """Factors, and perhaps shifts, for the channels of a map or of tokens."""
    x = _of(drawing)
    target = drawing.pick(drawing.one_of("map", "tokens"))
    if target is None:
        return
    shape = "[:, :, None, None]" if target.kind == "map" else "[:, None]"
    if drawing.chance(0.5):
        layer = drawing.hold("linear", f"nn.Linear({x.width}, {target.width})")
        drawing.like(target, f"{target.name} * torch.sigmoid({layer}({x.name})){shape}")
    else:
        layer = drawing.hold("linear", f"nn.Linear({x.width}, {2 * target.width})")
        a, b = drawing.fresh("a"), drawing.fresh("b")
        drawing.line(f"{a}, {b} = {layer}({x.name}).chunk(2, 1)")
        drawing.like(target, f"{target.name} * {a}{shape} + {b}{shape}")


def to_map(drawing: Drawing) -> None:
    """A linear layer whose outputs are laid out as a map."""
    x = _of(drawing)
    width = int(drawing.one_of(4, 6))
    layer = drawing.hold("linear", f"nn.Linear({x.width}, {4 * width})")
    form = drawing.one_of(
        f".view({x.name}.size(0), -1, 2, 2)", f".reshape(-1, {width}, 2, 2)", ".unflatten(1, (-1, 2, 2))"
    )
    drawing.add("map", f"{layer}({x.name}){form}", width, 2)


STEPS: list[Step] = [project, project, norm, residual, concatenation, modulate, modulate, to_map]
