"""Steps on maps: convolutions of all kinds, norms, branches and how they join, shuffles, gates."""

from __future__ import annotations

from secateur.testing.networks.drawing import Drawing, Feature, Step

WIDEST = 24


def _of(drawing: Drawing) -> Feature:
    found = drawing.pick("map")
    assert found is not None
    return found


def _conv(drawing: Drawing, x: Feature, width: int, groups: int = 1) -> Feature:
    """A convolution that keeps height and width."""
    kernel = drawing.one_of("1", "3, padding=1", "3, padding=1, padding_mode='circular'")
    kind = "ConvTranspose2d" if "circular" not in kernel and drawing.chance(0.15) else "Conv2d"
    grouped = f", groups={groups}" if groups > 1 else ""
    name = drawing.hold("conv", f"nn.{kind}({x.width}, {width}, {kernel}{grouped}{drawing.bias()})")
    return drawing.like(x, f"{name}({x.name})", width)


def fitting(drawing: Drawing, x: Feature) -> Feature:
    """Another map of the width and size of one, made by a convolution if need be."""
    found = [f for f in drawing.pool if (f.kind, f.width, f.size) == (x.kind, x.width, x.size) and f != x]
    if found and drawing.chance(0.7):
        return found[int(drawing.rng.integers(len(found)))]
    others = [f for f in drawing.pool if (f.kind, f.size) == ("map", x.size)]
    return _conv(drawing, others[int(drawing.rng.integers(len(others)))], x.width)


def conv(drawing: Drawing) -> None:
    """A plain convolution, or with an activation."""
    made = _conv(drawing, _of(drawing), drawing.width())
    if drawing.chance(0.5):
        drawing.like(made, f"F.relu({made.name})")


def grouped(drawing: Drawing) -> None:
    """A grouped convolution."""
    x = _of(drawing)
    if x.width % 2 == 0:
        _conv(drawing, x, int(drawing.one_of(4, 8)), groups=4 if x.width % 4 == 0 and drawing.chance(0.5) else 2)


def depthwise(drawing: Drawing) -> None:
    """A depthwise convolution, with one or two outputs per channel."""
    x = _of(drawing)
    if x.width <= 12:
        _conv(drawing, x, x.width * int(drawing.one_of(1, 1, 2)), groups=x.width)


def norm(drawing: Drawing) -> None:
    """A norm of any kind, as a module."""
    x = _of(drawing)
    n = x.width
    groups = drawing.one_of(*(g for g in (1, 2, 3, 4, n) if n % g == 0))
    text = drawing.one_of(
        f"nn.BatchNorm2d({n})",
        f"nn.BatchNorm2d({n}, affine=False)",
        f"nn.BatchNorm2d({n}, track_running_stats=False)",
        f"nn.InstanceNorm2d({n}, affine=True)",
        f"nn.GroupNorm({groups}, {n})",
        f"nn.PReLU({n})",
    )
    drawing.like(x, f"{drawing.hold('norm', text)}({x.name})")


def channels_last_norm(drawing: Drawing) -> None:
    """A layer norm over channels that are moved to the end and back."""
    x = _of(drawing)
    norm = drawing.hold("norm", f"nn.LayerNorm({x.width})")
    drawing.like(x, f"{norm}({x.name}.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)")


def activation(drawing: Drawing) -> None:
    """Something pointwise, along channels or over space."""
    x = _of(drawing)
    forms = ["F.relu({})", "torch.sigmoid({})", "torch.tanh({})", "{} + 1", "2 - {}", "F.silu({})", "{}.flip(1)"]
    forms += ["F.avg_pool2d({}, 3, 1, 1)"]
    forms += ["F.normalize({})", "F.max_pool2d({}, 3, 1, 1)", "F.dropout({}, 0.5, self.training)", "{0} * {0}"]
    drawing.like(x, drawing.one_of(*forms).format(x.name))


def residual(drawing: Drawing) -> None:
    """Two maps joined element by element."""
    x = _of(drawing)
    y = fitting(drawing, x)
    form = drawing.one_of(
        "{} + {}", "{} * {}", "torch.maximum({}, {})", "{}.clone().add_({})", "{} - {}.sigmoid()", "torch.add({}, {})"
    )
    drawing.like(x, form.format(x.name, y.name))


def concatenation(drawing: Drawing) -> None:
    """Maps side by side, or interleaved."""
    x = _of(drawing)
    if drawing.chance(0.25):
        y = fitting(drawing, x)
        form = drawing.one_of("torch.stack(({}, {}), 2).flatten(1, 2)", "torch.stack([{}, {}], 1).flatten(1, 2)")
        drawing.like(x, form.format(x.name, y.name), 2 * x.width)
        return
    others = [f for f in drawing.pool if (f.kind, f.size) == ("map", x.size)]
    picked = [x, *(others[int(drawing.rng.integers(len(others)))] for _ in range(drawing.one_of(1, 1, 2)))]
    width = sum(f.width for f in picked)
    if width <= WIDEST:
        drawing.like(x, f"torch.cat([{', '.join(f.name for f in picked)}], 1)", width)


def parts(drawing: Drawing) -> None:
    """A map cut into two."""
    x = _of(drawing)
    n = x.width
    if n % 4:
        return
    form = int(drawing.rng.integers(7))
    text = (
        f"{x.name}.chunk(2, 1)",
        f"torch.split({x.name}, [{n // 4}, {n - n // 4}], 1)",
        f"{x.name}[:, : {x.name}.shape[1] // 2], {x.name}[:, {x.name}.shape[1] // 2 :]",
        f"{x.name}[:, ::2], {x.name}[:, 1::2]",
        f"{x.name}.view({x.name}.size(0), -1, 2, {x.size}, {x.size}).unbind(2)",
        f"{x.name}.split({{}}, dim=1)",
        f"torch.split({x.name}, {x.name}.size(1) // 2, 1)",
    )[form]
    if form == 5:
        text = text.format(drawing.hold("half", str(n // 2)))
    names = [drawing.fresh("x"), drawing.fresh("x")]
    drawing.line(f"{', '.join(names)} = {text}")
    widths = [n // 4, n - n // 4] if form == 1 else [n // 2] * 2
    drawing.pool += [Feature(name, "map", width, x.size) for name, width in zip(names, widths, strict=True)]


def gate(drawing: Drawing) -> None:
    """A gated linear unit."""
    x = _of(drawing)
    if x.width % 2 == 0 and x.width > 4:
        if drawing.chance(0.5):
            drawing.like(x, f"F.glu({x.name}, 1)", x.width // 2)
        else:
            a, b = drawing.fresh("a"), drawing.fresh("b")
            drawing.line(f"{a}, {b} = {x.name}.chunk(2, dim=1)")
            drawing.like(x, f"{a} * torch.sigmoid({b})", x.width // 2)


def shuffle(drawing: Drawing) -> None:
    """A channel shuffle, with its number of groups written in several ways."""
    x = _of(drawing)
    groups = int(drawing.one_of(2, 4))
    if x.width % groups:
        return
    if drawing.chance(0.3):
        drawing.like(x, f"F.channel_shuffle({x.name}, {groups})")
        return
    held = drawing.hold("groups", str(groups)) if drawing.chance(0.5) else str(groups)
    b, c, h, w = (drawing.fresh(stem) for stem in "bchw")
    drawing.line(f"{b}, {c}, {h}, {w} = {x.name}.shape")
    form = drawing.one_of(
        f"{x.name}.view({b}, {held}, {c} // {held}, {h}, {w}).transpose(1, 2).reshape({b}, {c}, {h}, {w})",
        f"{x.name}.reshape({b}, -1, {held}, {h}, {w}).transpose(1, 2).flatten(1, 2)",
        f"{x.name}.view({b}, {held}, -1, {h}, {w}).permute(0, 2, 1, 3, 4).reshape({b}, -1, {h}, {w})",
    )
    drawing.like(x, form)


def excitation(drawing: Drawing) -> None:
    """Squeeze and excitation, by linear layers or convolutions."""
    x = _of(drawing)
    if drawing.chance(0.5):
        text = f"nn.Sequential(nn.Linear({x.width}, 4), nn.ReLU(), nn.Linear(4, {x.width}), nn.Sigmoid())"
        gate = drawing.hold("gate", text)
        view = drawing.one_of(".view({}.size(0), -1, 1, 1)", "[:, :, None, None]", ".unsqueeze(2).unsqueeze(3)")
        drawing.like(x, f"{x.name} * {gate}({x.name}.mean((2, 3))){view.format(x.name)}")
    else:
        text = (
            f"nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d({x.width}, 4, 1), nn.SiLU(), nn.Conv2d(4, {x.width}, 1))"
        )
        drawing.like(x, f"torch.sigmoid({drawing.hold('gate', text)}({x.name})) * {x.name}")


def scale(drawing: Drawing) -> None:
    """A learned factor and shift per channel."""
    x = _of(drawing)
    shape = drawing.one_of(f"1, {x.width}, 1, 1", f"{x.width}, 1, 1")
    factor, shift = (drawing.hold(stem, f"nn.Parameter(torch.ones({shape}))") for stem in ("factor", "shift"))
    drawing.like(x, drawing.one_of(f"{x.name} * {factor} + {shift}", f"{x.name} * {factor}", f"{x.name} + {shift}"))


def pixels(drawing: Drawing) -> None:
    """Channels spread over space, a convolution there, and back."""
    x = _of(drawing)
    if x.width % 4 == 0:
        conv = drawing.hold("conv", f"nn.Conv2d({x.width // 4}, {x.width // 4}, 3, padding=1)")
        drawing.like(x, f"F.pixel_unshuffle({conv}(F.pixel_shuffle({x.name}, 2)), 2)")


def wider(drawing: Drawing) -> None:
    """More channels without weights: repeated or padded."""
    x = _of(drawing)
    if x.width <= 8:
        forms = [(f"{x.name}.repeat(1, 2, 1, 1)", 2 * x.width), (f"F.pad({x.name}, (0, 0, 0, 0, 1, 3))", x.width + 4)]
        forms.append((f"{x.name}.repeat_interleave(2, 1)", 2 * x.width))
        drawing.like(x, *drawing.one_of(*forms))


def shared(drawing: Drawing) -> None:
    """One convolution used twice, or two with one weight."""
    x = _of(drawing)
    conv = drawing.hold("conv", f"nn.Conv2d({x.width}, {x.width}, 1)")
    y = drawing.like(x, f"{conv}({x.name})")
    if drawing.chance(0.5):
        drawing.like(y, f"{conv}({y.name})")
    else:
        other = drawing.hold("conv", f"nn.Conv2d({x.width}, {x.width}, 1)")
        drawing.init.append(f"{other}.weight = {conv}.weight")
        drawing.like(y, f"{other}({drawing.one_of(x, y).name})")


def smaller(drawing: Drawing) -> None:
    """Half the height and width."""
    x = _of(drawing)
    if x.size >= 4:
        forms = [
            "F.max_pool2d({}, 2)",
            "F.avg_pool2d({}, 2)",
            "F.interpolate({}, scale_factor=0.5)",
            "{}[:, :, ::2, ::2]",
        ]
        drawing.add("map", drawing.one_of(*forms).format(x.name), x.width, x.size // 2)


def to_tokens(drawing: Drawing) -> None:
    """Places become tokens."""
    x = _of(drawing)
    drawing.add("tokens", f"{x.name}.flatten(2).transpose(1, 2)", x.width, x.size**2)


def to_vector(drawing: Drawing) -> None:
    """Space is pooled, or flattened into the channels."""
    x = _of(drawing)
    if drawing.chance(0.7) or x.width * x.size**2 > 64:
        drawing.add("vector", f"{x.name}.mean((2, 3))", x.width)
    else:
        drawing.add("vector", f"torch.flatten({x.name}, 1)", x.width * x.size**2)


STEPS: list[Step] = [
    *(conv, conv, grouped, depthwise, norm, norm, norm, channels_last_norm, activation, activation, residual, residual),
    *(
        concatenation,
        concatenation,
        parts,
        parts,
        gate,
        shuffle,
        shuffle,
        excitation,
        scale,
        pixels,
        wider,
        shared,
        smaller,
    ),
    *(to_tokens, to_vector),
]
