"""Steps on tokens: linear layers, norms, joins, splits and reshapes of features, sums written as einsum."""

from __future__ import annotations

from secateur.testing.networks.drawing import Drawing, Feature, Step

WIDEST = 24


def token_feature(drawing: Drawing) -> Feature:
    """Tokens to start from."""
    found = drawing.pick("tokens")
    assert found is not None
    return found


def linear(drawing: Drawing, x: Feature, width: int) -> Feature:
    """A linear layer, as a module or by its function."""
    if drawing.chance(0.85):
        layer = drawing.hold("linear", f"nn.Linear({x.width}, {width}{drawing.bias()})")
        return drawing.like(x, f"{layer}({x.name})", width)
    weight = drawing.hold("weight", f"nn.Parameter(torch.randn({x.width}, {width}))")
    return drawing.like(x, drawing.one_of(f"{x.name} @ {weight}", f"torch.matmul({x.name}, {weight})"), width)


def fitting(drawing: Drawing, x: Feature) -> Feature:
    """Another feature of the same kind, width and size, made by a linear layer if need be."""
    found = [f for f in drawing.pool if (f.kind, f.width, f.size) == (x.kind, x.width, x.size) and f != x]
    if found and drawing.chance(0.7):
        return found[int(drawing.rng.integers(len(found)))]
    others = [f for f in drawing.pool if (f.kind, f.size) == (x.kind, x.size)]
    return linear(drawing, others[int(drawing.rng.integers(len(others)))], x.width)


def project(drawing: Drawing) -> None:
    """A linear layer, or with an activation."""
    made = linear(drawing, token_feature(drawing), drawing.width())
    if drawing.chance(0.5):
        drawing.like(made, drawing.one_of("F.gelu({})", "torch.relu({})", "torch.tanh({})").format(made.name))


def feed_forward(drawing: Drawing) -> None:
    """Up, activation, down, and around it a residual."""
    x = token_feature(drawing)
    hidden = drawing.width()
    if drawing.chance(0.5):
        text = f"nn.Sequential(nn.Linear({x.width}, {hidden}), nn.GELU(), nn.Linear({hidden}, {x.width}))"
        drawing.like(x, f"{x.name} + {drawing.hold('mlp', text)}({x.name})")
        return
    up, gate = (drawing.hold(stem, f"nn.Linear({x.width}, {hidden}, bias=False)") for stem in ("up", "gate"))
    down = drawing.hold("down", f"nn.Linear({hidden}, {x.width}, bias=False)")
    drawing.like(x, f"{x.name} + {down}(F.silu({gate}({x.name})) * {up}({x.name}))")


def norm(drawing: Drawing) -> None:
    """Layer norm or RMS norm, as a module or written out."""
    x = token_feature(drawing)
    form = int(drawing.rng.integers(5))
    if form < 3:
        text = (f"nn.LayerNorm({x.width})", f"nn.RMSNorm({x.width}, eps=1e-6)", f"nn.LayerNorm({x.width}, bias=False)")
        drawing.like(x, f"{drawing.hold('norm', text[form])}({x.name})")
    elif form == 3:
        weight = drawing.hold("weight", f"nn.Parameter(torch.ones({x.width}))")
        drawing.like(x, f"{x.name} * torch.rsqrt({x.name}.pow(2).mean(-1, keepdim=True) + 1e-6) * {weight}")
    else:
        weight, bias = (drawing.hold(stem, f"nn.Parameter(torch.ones({x.width}))") for stem in ("weight", "bias"))
        drawing.like(x, f"F.layer_norm({x.name}, ({x.name}.shape[-1],), {weight}, {bias})")


def residual(drawing: Drawing) -> None:
    """Two features joined element by element."""
    x = token_feature(drawing)
    y = fitting(drawing, x)
    form = drawing.one_of("{} + {}", "{} * {}", "torch.maximum({}, {})", "{} + {}.tanh()", "torch.lerp({}, {}, 0.3)")
    drawing.like(x, form.format(x.name, y.name))


def concatenation(drawing: Drawing) -> None:
    """Features side by side, or tokens one after the other."""
    x = token_feature(drawing)
    if drawing.chance(0.3):
        y = fitting(drawing, x)
        drawing.add("tokens", f"torch.cat([{x.name}, {y.name}], dim=1)", x.width, 2 * x.size)
        return
    others = [f for f in drawing.pool if (f.kind, f.size) == ("tokens", x.size)]
    y = others[int(drawing.rng.integers(len(others)))]
    if x.width + y.width <= WIDEST:
        drawing.like(x, f"torch.cat([{x.name}, {y.name}], -1)", x.width + y.width)


def parts(drawing: Drawing) -> None:
    """Features cut into two or three."""
    x = token_feature(drawing)
    count = 3 if x.width % 3 == 0 else 2
    if x.width % count or x.width // count < 2:
        return
    names = [drawing.fresh("x") for _ in range(count)]
    text = drawing.one_of(
        f"{x.name}.chunk({count}, -1)",
        f"torch.chunk({x.name}, {count}, dim=2)",
        f"{x.name}.split({x.name}.shape[-1] // {count}, -1)",
        f"{x.name}.unflatten(-1, ({count}, -1)).unbind(2)",
        f"{x.name}.reshape({x.name}.size(0), {x.name}.size(1), -1, {count}).unbind(3)",
    )
    drawing.line(f"{', '.join(names)} = {text}")
    drawing.pool += [Feature(name, "tokens", x.width // count, x.size) for name in names]


def gate(drawing: Drawing) -> None:
    """A gated linear unit over the features."""
    x = token_feature(drawing)
    if x.width % 2 == 0 and x.width > 4:
        drawing.like(x, f"F.glu({x.name}, {drawing.one_of('-1', 'dim=2')})", x.width // 2)


def heads(drawing: Drawing) -> None:
    """Features seen as heads, something done to them there, and back."""
    x = token_feature(drawing)
    counts = [n for n in (2, 3, 4) if x.width % n == 0]
    if not counts:
        return
    count = drawing.one_of(*counts)
    held = drawing.hold("heads", str(count)) if drawing.chance(0.7) else str(count)
    b, n, d = (drawing.fresh(stem) for stem in "bnd")
    drawing.line(f"{b}, {n}, {d} = {x.name}.shape")
    viewed = drawing.one_of(f"{x.name}.view({b}, {n}, {held}, -1)", f"{x.name}.view({b}, {n}, {held}, {d} // {held})")
    size = x.width // count
    if drawing.chance(0.5):
        factor = drawing.hold(
            "factor", f"nn.Parameter(torch.ones({drawing.one_of(f'{count}, 1', f'{size}', f'{count}, {size}')}))"
        )
        viewed = f"({viewed} * {factor})"
    back = drawing.one_of(f".reshape({b}, {n}, {d})", ".flatten(2)", f".reshape({b}, {n}, -1)")
    middle = drawing.one_of("", "", ".transpose(2, 3)", ".transpose(1, 2).tanh().transpose(1, 2)")
    drawing.like(x, f"{viewed}{middle}{back}")


def einsum(drawing: Drawing) -> None:
    """A linear layer, plain or by heads, as an einsum."""
    x = token_feature(drawing)
    if drawing.chance(0.5) or x.width % 2:
        width = drawing.width()
        weight = drawing.hold("weight", f"nn.Parameter(torch.randn({x.width}, {width}))")
        drawing.like(x, f"torch.einsum('bnd,de->bne', {x.name}, {weight})", width)
        return
    out = int(drawing.one_of(2, 3))
    weight = drawing.hold("weight", f"nn.Parameter(torch.randn({x.width}, 2, {out}))")
    if drawing.chance(0.5):
        drawing.like(x, f"torch.einsum('bnd,dhe->bnhe', {x.name}, {weight}).flatten(2)", 2 * out)
    else:
        back = drawing.hold("weight", f"nn.Parameter(torch.randn(2, {out}, {x.width}))")
        inner = drawing.fresh("h")
        drawing.line(f"{inner} = torch.einsum('bnd,dhe->bhne', {x.name}, {weight})")
        drawing.like(x, f"torch.einsum('bhne,hed->bnd', {inner}, {back})")


def shared(drawing: Drawing) -> None:
    """One linear layer used twice, or its weight used again, transposed."""
    x = token_feature(drawing)
    if drawing.chance(0.5):
        layer = drawing.hold("linear", f"nn.Linear({x.width}, {x.width})")
        drawing.like(x, f"{layer}(F.relu({layer}({x.name})))")
    else:
        layer = drawing.hold("linear", f"nn.Linear({x.width}, {drawing.width()})")
        drawing.like(x, f"F.linear(torch.tanh({layer}({x.name})), {layer}.weight.t())")


def mix_tokens(drawing: Drawing) -> None:
    """A linear layer or a convolution along the tokens."""
    x = token_feature(drawing)
    if drawing.chance(0.5):
        layer = drawing.hold("linear", f"nn.Linear({x.size}, {x.size})")
        drawing.like(x, f"{layer}({x.name}.transpose(1, 2)).transpose(1, 2)")
    else:
        width = drawing.width()
        conv = drawing.hold("conv", f"nn.Conv1d({x.width}, {width}, 3, padding=1)")
        drawing.like(x, f"{conv}({x.name}.transpose(1, 2)).transpose(1, 2)", width)


def to_map(drawing: Drawing) -> None:
    """Tokens laid out as a map."""
    x = token_feature(drawing)
    side = round(x.size**0.5)
    if side**2 == x.size:
        form = drawing.one_of(f".reshape({x.name}.size(0), -1, {side}, {side})", f".unflatten(2, ({side}, {side}))")
        drawing.add("map", f"{x.name}.transpose(1, 2){form}", x.width, side)


def to_vector(drawing: Drawing) -> None:
    """One vector of all tokens."""
    x = token_feature(drawing)
    drawing.add("vector", drawing.one_of("{}.mean(1)", "{}[:, 0]", "{}.sum(dim=1)").format(x.name), x.width)


STEPS: list[Step] = [
    *(project, project, feed_forward, norm, norm, residual, residual, concatenation, parts, gate, heads, einsum),
    *(shared, mix_tokens, to_map, to_vector),
]
