"""Where programs begin and end: inputs of several kinds, heads."""

from __future__ import annotations

from secateur.testing.networks.drawing import LENGTH, SIDE, Drawing, Feature
from secateur.testing.networks.program import names_in

BATCH, VOCABULARY = 2, 7


def add_inputs(drawing: Drawing, only: str = "") -> None:
    """One or two inputs, of one kind if it is named, each followed by a layer that writes the first features."""
    for _ in range(1 + drawing.chance(0.3)):
        kind = drawing.one_of("map", "map", "map", "map", "tokens", "tokens", "ids", "ids", "vector")
        {"map": _map, "tokens": _tokens, "ids": _ids, "vector": _vector}[only or kind](drawing)


def _input(drawing: Drawing, text: str) -> str:
    name = drawing.fresh("x")
    drawing.inputs[name] = text
    return name


def _map(drawing: Drawing) -> None:
    name, width = _input(drawing, f"torch.randn({BATCH}, 3, {SIDE}, {SIDE})"), drawing.width()
    conv = drawing.hold("conv", f"nn.Conv2d(3, {width}, {drawing.one_of('1', '3, padding=1')}{drawing.bias()})")
    drawing.add("map", f"{conv}({name})", width, SIDE)


def _tokens(drawing: Drawing) -> None:
    name, width = _input(drawing, f"torch.randn({BATCH}, {LENGTH}, 6)"), drawing.width()
    linear = drawing.hold("linear", f"nn.Linear(6, {width}{drawing.bias()})")
    drawing.add("tokens", f"{linear}({name})", width, LENGTH)


def _vector(drawing: Drawing) -> None:
    name, width = _input(drawing, f"torch.randn({BATCH}, 6)"), drawing.width()
    linear = drawing.hold("linear", f"nn.Linear(6, {width}{drawing.bias()})")
    drawing.add("vector", f"{linear}({name})", width)


def _ids(drawing: Drawing) -> None:
    name, width = _input(drawing, f"torch.randint(0, {VOCABULARY}, ({BATCH}, {LENGTH}))"), drawing.width()
    embedding = drawing.hold("embedding", f"nn.Embedding({VOCABULARY}, {width})")
    drawing.vocabulary[embedding] = width
    made = drawing.add("tokens", f"{embedding}({name})", width, LENGTH)
    if drawing.chance(0.5):
        if drawing.chance(0.5):
            positions = drawing.hold("positions", f"nn.Parameter(torch.randn({LENGTH}, {width}))")
            drawing.like(made, f"{made.name} + {positions}")
        else:
            positions = drawing.hold("positions", f"nn.Embedding({LENGTH}, {width})")
            drawing.like(made, f"{made.name} + {positions}(torch.arange({name}.shape[1]))")


def choose_outputs(drawing: Drawing) -> list[str]:
    """The last feature, some that nothing reads, now and then any, each behind a head or as it is."""
    read = {name for line in drawing.lines for name in names_in(line).reads}
    loose = [feature for feature in drawing.pool[:-1] if feature.name not in read]
    chosen = [drawing.pool[-1], *(feature for feature in loose[-2:] if drawing.chance(0.6))]
    if drawing.chance(0.15):
        chosen.append(drawing.recent())
    return [_head(drawing, feature) for feature in dict.fromkeys(chosen)]


def _head(drawing: Drawing, feature: Feature) -> str:
    if drawing.chance(0.1):
        return feature.name
    return {"map": _of_map, "tokens": _of_tokens, "vector": _of_vector}[feature.kind](drawing, feature)


def _of_map(drawing: Drawing, x: Feature) -> str:
    form = int(drawing.rng.integers(5))
    if form == 0:
        conv = drawing.hold("head", f"nn.Conv2d({x.width}, 2, 1)")
        return drawing.like(x, f"{conv}({x.name})", 2).name
    flat = [
        f"F.adaptive_avg_pool2d({x.name}, 1).flatten(1)",
        f"{x.name}.mean((2, 3))",
        f"{x.name}.flatten(1)",
        f"{x.name}.reshape({x.name}.size(0), -1)",
    ][form - 1]
    width = x.width * (x.size**2 if form > 2 else 1)
    return _of_vector(drawing, drawing.add("vector", flat, width))


def _of_tokens(drawing: Drawing, x: Feature) -> str:
    tied = [name for name, width in drawing.vocabulary.items() if width == x.width]
    if tied and drawing.chance(0.6):
        if drawing.chance(0.5):
            return drawing.add("vector", f"F.linear({x.name}, {tied[0]}.weight)", VOCABULARY).name
        head = drawing.hold("head", f"nn.Linear({x.width}, {VOCABULARY}, bias=False)")
        drawing.init.append(f"{head}.weight = {tied[0]}.weight")
        return drawing.like(x, f"{head}({x.name})", VOCABULARY).name
    if drawing.chance(0.6):
        return _of_vector(drawing, x)
    flat = drawing.one_of(f"{x.name}.mean(1)", f"{x.name}[:, 0]", f"{x.name}.amax(dim=1)")
    return _of_vector(drawing, drawing.add("vector", flat, x.width))


def _of_vector(drawing: Drawing, x: Feature) -> str:
    head = drawing.hold("head", f"nn.Linear({x.width}, 3{drawing.bias()})")
    return drawing.like(x, f"{head}({x.name})", 3).name
