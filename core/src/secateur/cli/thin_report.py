"""The report of `secateur thin --report FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from secateur.errors import SecateurError

if TYPE_CHECKING:
    import argparse

    from secateur.cli.models import NamedModel
    from secateur.measure import Comparison
    from secateur.report.content import Proof
    from secateur.report.network import Network
    from secateur.thinning.report import Report


def check_report(path: str | None, output: str) -> None:
    """Raise `SecateurError` unless a report could be written there; nothing is changed."""
    from secateur.checkpoint.files import check_writable

    if path is None:
        return
    if Path(path).resolve() == Path(output).resolve():
        raise SecateurError("the report would replace the checkpoint", where=path, hint="name another file")
    check_writable(path, SecateurError)


@frozen(eq=False)
class Reporting:
    """What is known before anything is cut, until the report is written."""

    arguments: argparse.Namespace
    built: NamedModel
    inputs: tuple[Any, ...]
    before: Network

    @classmethod
    def begin(cls, arguments: argparse.Namespace, built: NamedModel, inputs: tuple[Any, ...]) -> Reporting:
        """Look at the dense network."""
        from secateur.measure.counts import macs_each
        from secateur.plugins import current
        from secateur.report.network import look

        return cls(arguments, built, inputs, look(built.model, inputs, current(), arguments.builder, macs_each))

    def write(self, report: Report, latency: Comparison | None) -> None:
        """Look at the thin network and write the report."""
        from secateur.graph.nested import tensors_in
        from secateur.measure.counts import macs_each
        from secateur.plugins import current
        from secateur.report import write_html
        from secateur.report.network import look
        from secateur.report.of_thinning import thinning_content

        arguments, built, plugins = self.arguments, self.built, current()
        imports, expression = built.code
        content = thinning_content(
            built.name,
            report,
            self.before,
            look(built.model, report.plan.states.cut_inputs(self.inputs), plugins, arguments.builder, macs_each),
            built.model,
            plugins=plugins,
            latency=latency,
            reloaded=self._reloaded(report),
            shapes=tuple(tuple(tensor.shape) for tensor in tensors_in(self.inputs)[0]),
            facts=(
                ("seed", str(arguments.seed)),
                ("graph builder", arguments.builder),
                ("checkpoint", f"{arguments.output}, {Path(arguments.output).stat().st_size / 1000:,.1f} KB"),
            ),
            command=arguments.command_line,
            code=f"import secateur\n{imports}\nmodel = secateur.load({arguments.output!r}, {expression})",
        )
        write_html(arguments.report, content)

    def _reloaded(self, report: Report) -> Proof:
        """Load what was written into a network that is built anew, and compare."""
        from secateur.checkpoint import load
        from secateur.cli.models import build_model
        from secateur.report.gathering import not_reloaded, same_reloaded
        from secateur.thinning.verify import compare, float_dtype, outputs, telling

        arguments, inputs = self.arguments, report.plan.states.cut_inputs(telling(self.inputs))
        try:
            fresh = build_model(arguments.model, arguments.model_args, arguments.seed).model
            load(arguments.output, fresh)
        except SecateurError as error:
            return not_reloaded(str(error))
        return same_reloaded(compare(outputs(self.built.model, inputs), outputs(fresh, inputs), float_dtype(fresh)))
