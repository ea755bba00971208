"""Steps of attention: with and without grouped heads, by the function, by hand, and by torch's modules."""

from __future__ import annotations

from secateur.testing.networks.drawing import Drawing, Feature, Step
from secateur.testing.networks.tokens import fitting, token_feature


def attention(drawing: Drawing) -> None:
    """Queries, keys and values by linear layers, split into heads; all that may be written in several ways."""
    x = token_feature(drawing)
    source = fitting(drawing, x) if drawing.chance(0.15) else x
    heads, size = int(drawing.one_of(1, 2, 4)), int(drawing.one_of(2, 3, 4))
    groups = int(drawing.one_of(*(g for g in (1, 2, 4) if heads % g == 0))) if drawing.chance(0.35) else heads
    held = drawing.hold("heads", str(heads))
    b, n = drawing.fresh("b"), drawing.fresh("n")
    drawing.line(f"{b}, {n}, _ = {x.name}.shape")
    if groups == heads and source is x and drawing.chance(0.4):
        q, k, v = _fused(drawing, x, heads * size, held, b, n)
    else:
        shared = held if groups == heads and drawing.chance(0.7) else drawing.hold("kv_heads", str(groups))
        q = _projected(drawing, x, heads * size, held, size, b, n)
        k, v = (_projected(drawing, source, groups * size, shared, size, b, n) for _ in range(2))
    made = _attended(drawing, q, k, v, heads // groups)
    back = drawing.one_of(".transpose(1, 2).reshape({}, {}, -1)", ".transpose(1, 2).flatten(2)")
    if drawing.chance(0.2):
        back = f".permute(0, 2, 1, 3).contiguous().view({{}}, {{}}, {heads * size})"
    joined = drawing.fresh("y")
    drawing.line(f"{joined} = {made}{back.format(b, n)}")
    out = drawing.hold("out", f"nn.Linear({heads * size}, {x.width}{drawing.bias()})")
    residual = f"{x.name} + " if drawing.chance(0.7) else ""
    drawing.like(x, f"{residual}{out}({joined})")


def _projected(drawing: Drawing, x: Feature, width: int, held: str, size: int, b: str, n: str) -> str:
    layer = drawing.hold("linear", f"nn.Linear({x.width}, {width}{drawing.bias()})")
    view = drawing.one_of(f"{held}, -1", f"{held}, -1", f"-1, {size}", f"{held}, {width} // {held}")
    name = drawing.fresh("q")
    drawing.line(f"{name} = {layer}({x.name}).view({b}, {n}, {view}).transpose(1, 2)")
    return name


def _fused(drawing: Drawing, x: Feature, width: int, held: str, b: str, n: str) -> list[str]:
    layer = drawing.hold("linear", f"nn.Linear({x.width}, {3 * width}{drawing.bias()})")
    names = [drawing.fresh(stem) for stem in "qkv"]
    if drawing.chance(0.5):
        text = f"{layer}({x.name}).reshape({b}, {n}, 3, {held}, -1).permute(2, 0, 3, 1, 4)"
        drawing.line(f"{', '.join(names)} = {drawing.one_of(text, text + '.unbind(0)')}")
        return names
    drawing.line(f"{', '.join(names)} = {layer}({x.name}).chunk(3, dim=-1)")
    split = []
    for name in names:
        split.append(drawing.fresh("q"))
        drawing.line(f"{split[-1]} = {name}.view({b}, {n}, {held}, -1).transpose(1, 2)")
    return split


def _attended(drawing: Drawing, q: str, k: str, v: str, repeats: int) -> str:
    """The attention itself, an expression of shape (batch, heads, tokens, size)."""
    by_hand = drawing.chance(0.4)
    if repeats > 1 and (by_hand or drawing.chance(0.5)):
        names = [drawing.fresh("k"), drawing.fresh("v")]
        for name, old in zip(names, (k, v), strict=True):
            form = drawing.one_of(
                f"{old}.repeat_interleave({repeats}, 1)",
                f"{old}[:, :, None].expand(-1, -1, {repeats}, -1, -1).flatten(1, 2)",
            )
            drawing.line(f"{name} = {form}")
        k, v = names
        repeats = 1
    if by_hand:
        scale = drawing.one_of("", " * 0.5", f" / {q}.shape[-1] ** 0.5", f" * {drawing.hold('scale', '0.7')}")
        weights = drawing.fresh("w")
        text = drawing.one_of(
            f"({q} @ {k}.transpose(-2, -1){scale}).softmax(-1)",
            f"F.softmax(torch.matmul({q}, {k}.transpose(2, 3)){scale}, dim=-1)",
            f"torch.einsum('bhid,bhjd->bhij', {q}, {k}).softmax(dim=-1)",
        )
        drawing.line(f"{weights} = {text}")
        return str(drawing.one_of(f"({weights} @ {v})", f"torch.einsum('bhij,bhjd->bhid', {weights}, {v})"))
    options = drawing.one_of("", "", ", scale=0.6", ", is_causal=True")
    grouped = ", enable_gqa=True" if repeats > 1 else ""
    return f"F.scaled_dot_product_attention({q}, {k}, {v}{options}{grouped})"


def multihead(drawing: Drawing) -> None:
    """torch's own multi-head attention."""
    x = token_feature(drawing)
    heads = drawing.one_of(*(h for h in (1, 2, 4) if x.width % h == 0))
    layer = drawing.hold("attention", f"nn.MultiheadAttention({x.width}, {heads}, batch_first=True{drawing.bias()})")
    y = fitting(drawing, x).name if drawing.chance(0.3) else x.name
    weights = drawing.one_of("", ", need_weights=False")
    drawing.like(x, f"{layer}({x.name}, {y}, {y}{weights})[0]")


def encoder(drawing: Drawing) -> None:
    """torch's own layer of a transformer."""
    x = token_feature(drawing)
    heads = drawing.one_of(*(h for h in (1, 2, 4) if x.width % h == 0))
    options = drawing.one_of("", ", norm_first=True", ", activation='gelu'")
    text = f"nn.TransformerEncoderLayer({x.width}, {heads}, {drawing.width()}, batch_first=True{options})"
    drawing.like(x, f"{drawing.hold('encoder', text)}({x.name})")


STEPS: list[Step] = [attention, attention, attention, attention, multihead, encoder]
