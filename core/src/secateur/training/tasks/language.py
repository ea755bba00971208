"""Language modelling: predict the next word of a text; truncated back-propagation through time, judged by perplexity.

The text is laid into `batch_size` columns, which are read side by side; a mini-batch is a window of `bptt` words of
each. The recurrent states are carried from window to window, gradients are not (Williams & Peng 1990; the set-up of
Zaremba et al. 2014). Perplexity is the exponential of the mean cross entropy per word.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from secateur.errors import DataError
from secateur.records import TextSplit
from secateur.thinning.report import Report
from secateur.thinning.verify import quiet
from secateur.training.tasks.base import Batch, Evaluation, Metric, Outcome

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

PERPLEXITY = Metric("perplexity", "ppl", higher_is_better=False, shape=".2f")
COLUMNS = 10
"""Into which a text is laid to be evaluated."""
EXAMPLE = 35
"""Words that an example window has at most: a network does not change with its length."""


@frozen
class LanguageModelling:
    """Which word comes next? The model is called as `model(tokens, states=None)` with tokens (time, batch).

    It returns logits (time, batch, vocabulary), or a pair of them and its states after the last time, which it is
    given again with the next window. `bptt`: words of a window.
    """

    bptt: int = 35
    metric: Metric = PERPLEXITY
    per: str = "word"

    def steps(self, data: TextSplit, batch_size: int) -> int:
        """Windows of a pass. Raises `DataError` if the text has less than two words per column."""
        rows = len(data) // batch_size
        if rows < 2:
            raise DataError(
                f"a text of {len(data)} words cannot be laid into {batch_size} columns of at least two",
                where="run.data.batch_size",
                hint=f"give at most {len(data) // 2}",
            )
        return math.ceil((rows - 1) / self.bptt)

    def batches(self, data: TextSplit, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Windows in the order of the text; words that fill no row are left out. The generator is not drawn from."""
        return self.windows(data, batch_size)

    def windows(self, data: TextSplit, columns: int) -> Iterator[Batch]:
        """A text laid into columns, window after window: inputs and targets (time, columns)."""
        rows = len(data) // columns
        laid = data.tokens[: rows * columns].view(columns, rows).t().contiguous()
        for start in range(0, rows - 1, self.bptt):
            end = min(start + self.bptt, rows - 1)
            yield Batch(laid[start:end], laid[start + 1 : end + 1])

    def forward(self, model: nn.Module, batch: Batch, carried: Any) -> Outcome:
        """The mean cross entropy over the words of a window."""
        from torch.nn.functional import cross_entropy
        from torch.utils import _pytree as pytree

        returned = model(batch.inputs) if carried is None else model(batch.inputs, carried)
        logits, states = returned if isinstance(returned, tuple) else (returned, None)
        loss = cross_entropy(logits.flatten(0, 1).float(), batch.targets.flatten())
        return Outcome(loss, 0, batch.targets.numel(), pytree.tree_map(lambda state: state.detach(), states))

    def cut(self, carried: Any, report: Report) -> Any:
        """The states without the entries of the units that left."""
        from torch.utils import _pytree as pytree

        if carried is None:
            return None
        states, structure = pytree.tree_flatten(carried)
        _, *kept = report.plan.states.cut_outputs([states[0], *states])  # the logits come first, and are never cut
        return pytree.tree_unflatten(kept, structure)

    def score(self, loss: float, correct: int, seen: int) -> Evaluation:
        """Mean loss and perplexity; infinite if it is beyond a float."""
        mean = loss / max(seen, 1)
        return Evaluation(mean, math.exp(mean) if mean < 700 else math.inf)

    def evaluate(self, model: nn.Module, data: TextSplit) -> Evaluation:
        """Over a split, read in 10 columns (or fewer, if it is short)."""
        columns = max(1, min(COLUMNS, len(data) // 2))
        total, seen, carried = 0.0, 0, None
        with quiet(model):
            for batch in self.windows(data, columns):
                made = self.forward(model, batch, carried)
                total, seen, carried = total + float(made.loss) * made.seen, seen + made.seen, made.carried
        return self.score(total, 0, seen)

    def example(self, data: TextSplit) -> tuple[Tensor, ...]:
        """The first window of a split, as it is evaluated."""
        first = next(self.windows(data, max(1, min(COLUMNS, len(data) // 2))))
        return (first.inputs,)

    def inputs_like(self, model: nn.Module, sizes: Mapping[str, int], shape: tuple[int, ...] | None) -> tuple[Any, ...]:
        """A window of random words for two columns, and the states that the model returns for it, if it does."""
        import torch

        tokens = torch.randint(sizes["vocabulary"], (min(self.bptt, EXAMPLE), 2))
        tokens[0, 0] = sizes["vocabulary"] - 1
        try:
            with quiet(model):
                returned = model(tokens)
        except IndexError as error:
            what = f"its vocabulary is smaller than that of the text, {sizes['vocabulary']} words"
            raise IndexError(f"{what}; leave vocabulary out of its arguments, or give as many") from error
        return (tokens, returned[1]) if isinstance(returned, tuple) else (tokens,)
