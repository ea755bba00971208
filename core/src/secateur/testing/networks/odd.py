"""Odd steps, now and then: they mix channels, read their number, or have no rule, and must be refused if not known."""

from __future__ import annotations

from secateur.testing.networks.drawing import Drawing, Step

RARE = 0.6


def _odd(kind: str, *forms: str) -> Step:
    """A step that applies one of several expressions of `{0}` along the channels, axis `{1}`, now and then."""

    def step(drawing: Drawing) -> None:
        x = drawing.pick(kind)
        if x is not None and drawing.chance(RARE):
            axis = 2 if kind == "tokens" else 1
            drawing.like(x, drawing.one_of(*forms).format(x.name, axis))

    return step


EVERYWHERE = (
    "{0}.cumsum({1})",
    "{0}.softmax({1})",
    "F.log_softmax({0}, {1})",
    "{0} - {0}.mean({1}, keepdim=True)",
    "{0}.roll(1, {1})",
    "{0} * {0}.shape[{1}]",
    "{0} / {0}.size({1}) ** 0.5",
    "{0}.sort({1})[0]",
    "{0} / (1 + {0}.norm(dim={1}, keepdim=True))",
    "{0} * {0}.sum({1}, keepdim=True).sigmoid()",
    "{0} * ({0} + 1).sum({1}, keepdim=True).tanh()",
    "{0} + torch.sigmoid({0}).sum({1}, keepdim=True)",
    "F.normalize({0}.cos(), dim={1})",
    "F.normalize(F.relu({0}), dim={1})",
    "{0} - {0}.amax({1}, keepdim=True)",
    "torch.where({0} > 0, {0}, 0.1 * {0})",
    "torch.where({0} > 0.1, {0}, torch.ones_like({0}))",
    "{0}.masked_fill({0} < 0, 0.5)",
    "{0}.clamp(min=0.2)",
    "{0}.clamp(-9, 9).exp()",
    "{0}.reshape(-1).view_as({0})",
    "{0}.reshape(2, -1).view({0}.shape)",
    "{0}.index_select({1}, torch.arange({0}.size({1})))",
    "{0}.flip({1}) + {0}",
    "F.softplus({0}) * torch.ones({0}.shape[{1}]).sum()",
)
MAPS: list[Step] = [
    _odd(
        "map",
        *EVERYWHERE,
        "F.local_response_norm({0}, 3)",
        "{0}.mean(1, keepdim=True) * {0}",
        "F.dropout2d({0}, 0.3, False)",
    )
]
TOKENS: list[Step] = [
    _odd(
        "tokens",
        *EVERYWHERE,
        "{0} @ {0}.transpose(1, 2) @ {0}",
        "({0} + 1) @ {0}.exp().transpose(1, 2) @ {0}",
        "torch.bmm({0}.softmax(1), {0}.transpose(1, 2)) @ {0}",
    )
]
VECTORS: list[Step] = [_odd("vector", *EVERYWHERE, "{0} @ {0}.t() @ {0}")]
