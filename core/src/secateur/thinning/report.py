"""What thinning did: sizes before and after, and the measured difference between masked and thinned."""

from __future__ import annotations

from attrs import frozen

from secateur.thinning.plan import Plan
from secateur.thinning.verify import Difference


@frozen(eq=False, repr=False)
class Report:
    """The result of one thinning. Counts are of elements; `difference` is None if it was not verified."""

    plan: Plan
    parameters_before: int
    parameters_after: int
    seconds: float
    difference: Difference | None
    notes: tuple[str, ...] = ()
    """What the user should know of the optimizers: steps that got another length, and the like."""

    @property
    def share(self) -> float:
        """The share of parameters that is left."""
        return self.parameters_after / self.parameters_before if self.parameters_before else 1.0

    def __repr__(self) -> str:
        return f"<Report: {self}>"

    def __str__(self) -> str:
        text = (
            f"{self.parameters_before:,} -> {self.parameters_after:,} parameters "
            f"({self.share:.1%} left) in {self.seconds:.2f} s"
        )
        if self.difference is None:
            text = f"{text}; not verified"
        else:
            text = f"{text}; {self.plan.reference} and thinned differ by {self.difference.relative:.1e} (relative)"
        return "\n".join([text, *self.notes])
