"""The DOT text of a drawing: the language of Graphviz, whose labels are small tables."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from secateur.pictures.colours import FAINT, INK, LINE, OWN, PAGE, PLAIN, QUIET
from secateur.pictures.folding import Block

if TYPE_CHECKING:
    from secateur.pictures.drawing import Drawing
    from secateur.pictures.nodes import Node

FONT = "Helvetica"
MOST_CURVES = 700
"""Lines between boxes that are drawn as curves: to lead more around the boxes takes minutes."""
MOST_ROWS = 14
"""Dims in the legend."""
MOST_PARAMETERS = 8
"""Parameters and buffers in the table beside a box."""
MOST_PASSING = 3
"""Modules in the last line of a box."""


def dot_of(drawing: Drawing, direction: str, legend: bool) -> str:
    """Write a drawing as DOT."""
    return "\n".join(["digraph secateur {", *(f"  {line}" for line in _body(drawing, direction, legend)), "}", ""])


def _body(drawing: Drawing, direction: str, legend: bool) -> Iterator[str]:
    across = "LR" if direction == "right" else "TB"
    yield f'graph [rankdir={across} fontname="{FONT}" fontsize=11 nodesep=0.25 ranksep=0.32 newrank=true pad=0.2'
    quick = "splines=line nslimit=1 nslimit1=1 mclimit=0.05 searchsize=3"
    effort = "nslimit=4 nslimit1=4 mclimit=0.5" if len(drawing.lines) <= MOST_CURVES else quick
    yield f'  bgcolor="white" {effort} class="secateur"];'
    yield f'node [shape=box style="rounded,filled" fontname="{FONT}" fontsize=11 margin="0.09,0.05" height=0.3'
    yield f'  width=0.5 fillcolor="{PLAIN}" color="{LINE}" fontcolor="{INK}" penwidth=1];'
    yield f'edge [color="{LINE}" arrowsize=0.6 penwidth=1.1];'
    for name in drawing.graph.inputs:
        shape = drawing.graph.values[name].shape
        yield f"{_quoted(f'in {name}')} [{_end(name, shape)}];"
    made = {output for node in drawing.nodes for op in node.ops for output in op.outputs}
    for number, name in enumerate(drawing.graph.outputs):
        if name in made:
            yield f"{_quoted(f'out {number}')} [{_end('output', drawing.graph.values[name].shape)}];"
    yield from _items(drawing, drawing.folded.tree, "c", "")
    yield from _lines(drawing)
    if legend and drawing.dims:
        yield f"graph [label=<{_legend(drawing, 2 if across == 'TB' else 4)}> labelloc=t labeljust=l];"


def _end(name: str, shape: tuple[int, ...]) -> str:
    text = f"{name}  {'×'.join(map(str, shape))}" if shape else name
    return f'shape=box style="rounded" color="{LINE}" fontcolor="{QUIET}" fontsize=10 class="end" label={_quoted(text)}'


def _items(drawing: Drawing, block: Block, prefix: str, path: str) -> Iterator[str]:
    """What lies in a block; `path`: the module whose frame is around it."""
    for number, item in enumerate(block.items):
        if isinstance(item, int):
            yield from _box(drawing, item, path)
        elif item.times == 1 and len(item.items) == 1:
            yield from _items(drawing, item, f"{prefix}_{number}", path)
        else:
            yield from _cluster(drawing, item, f"{prefix}_{number}", path)


def _cluster(drawing: Drawing, block: Block, name: str, path: str) -> Iterator[str]:
    title = _within(block.path, path) or "the model"
    frame = f'style="rounded,filled"; fillcolor="#80868B14"; color="#BDC1C6"; fontcolor="{QUIET}"; labeljust=l;'
    if block.times > 1:
        note = f", {block.length} at a time" if block.length > 1 else ""
        note += ", each reads all before it" if block.reads_all else ""
        title = f"{title} … {_within(block.last, block.path.rpartition('.')[0])}   ×{block.times}{note}"
        yield f'subgraph "cluster_{name}_stack" {{ label=""; {frame} margin=5; class="block";'
    yield f'subgraph "cluster_{name}" {{ label={_quoted(title)}; {frame} margin=9; class="block";'
    yield from _items(drawing, block, name, block.module)
    yield "}"
    if block.times > 1:
        yield "}"


def _within(name: str, path: str) -> str:
    """A name as it is written inside of a module: without its path, but never beginning with a number."""
    parts = name.split(".")
    start = path.count(".") + 1 if path and name.startswith(f"{path}.") else 0
    while start and parts[start].isdigit():
        start -= 1
    return ".".join(parts[start:])


def _box(drawing: Drawing, position: int, path: str) -> Iterator[str]:
    node = drawing.nodes[position]
    fill = drawing.fill_of(position)
    style = fill.style + (",dashed" if drawing.stays(node) else "")
    rows = "".join(_rows(drawing, position, path, fill.letters))
    label = f'<<table border="0" cellborder="0" cellspacing="0" cellpadding="1">{rows}</table>>'
    yield (
        f'{_quoted(f"n{position}")} [label={label} style="{style}" fillcolor="{fill.fill}" color="{fill.line}" '
        f'class="box" tooltip={_quoted(_tooltip(drawing, node))}];'
    )
    if drawing.parameters:
        yield from _parameters(drawing, position)


def _rows(drawing: Drawing, position: int, path: str, letters: str) -> Iterator[str]:
    node = drawing.nodes[position]
    badge = f'  <font point-size="8" color="{FAINT}">{letters}</font>' if letters else ""
    module = node.head.module if node.name == node.head.name else node.name
    if module in ("", path):
        yield f"<tr><td>{escape(node.kind)}{badge}</td></tr>"
    else:
        title, does = _within(module, path), drawing.place(node)
        yield f"<tr><td><b>{escape(title)}</b>{badge}</td></tr>"
        if does.lower() != title:
            yield _quiet(does)
    if drawing.shows_width(node) and (width := drawing.width(position)):
        yield f"<tr><td>{'<b>' if '→' in width else ''}{width}{'</b>' if '→' in width else ''}</td></tr>"
    for line in drawing.inner(node):
        yield _quiet(line)
    if drawing.stays(node) and not drawing.on_request(node):
        yield _quiet("stays")
    if node.passing:
        shown = [_within(name, node.path) for name in node.passing[:MOST_PASSING]]
        more = f" +{len(node.passing) - MOST_PASSING}" if len(node.passing) > MOST_PASSING else ""
        yield _quiet(" · ".join(shown) + more)


def _quiet(text: str) -> str:
    return f'<tr><td><font point-size="9" color="{FAINT}">{escape(text)}</font></td></tr>'


def _parameters(drawing: Drawing, position: int) -> Iterator[str]:
    """One table beside a box: a row for each parameter, a cell for each axis, in the colour of the dim along it."""
    node = drawing.nodes[position]
    if not node.parameters:
        return
    shown, module = node.parameters[:MOST_PARAMETERS], node.head.module
    base = module.rpartition(".")[0] if node.passing else module
    longest = max(len(drawing.graph.values[name].shape) for name in shown)
    rows = []
    for name in shown:
        size = len(drawing.graph.values[name].shape)
        cells = [drawing.axis(name, axis) for axis in range(size)]
        widths = "".join(f'<td bgcolor="{fill}">{width}</td>' for width, fill in cells)
        rest = f'<td colspan="{longest - size}"></td>' if longest > size else ""
        rows.append(f'<tr><td align="left">{escape(_within(name, base))}</td>{widths}{rest}</tr>')
    if len(node.parameters) > len(shown):
        rows.append(f'<tr><td align="left">and {len(node.parameters) - len(shown)} more</td></tr>')
    label = f'<<table border="0" cellborder="0" cellspacing="2" cellpadding="2">{"".join(rows)}</table>>'
    box, table = _quoted(f"n{position}"), _quoted(f"p {position}")
    yield f'{table} [fontsize=9 penwidth=0.6 margin="0.02,0.02" class="parameters" label={label}];'
    yield f'subgraph "cluster_p{position}" {{ label=""; style=invis; margin=2; {{ rank=same; {table}; {box}; }} }}'
    yield f"{table} -> {box} [style=dashed arrowsize=0.5];"


def _lines(drawing: Drawing) -> Iterator[str]:
    for (source, target), value in drawing.lines.items():
        yield f"{_quoted(f'n{source}')} -> {_quoted(f'n{target}')} [{_line(drawing, value)}];"
    first: dict[tuple[str, int], None] = {}
    for position, node in enumerate(drawing.nodes):
        for name in node.inputs:
            if name in drawing.graph.inputs:
                first[name, drawing.folded.node(position)] = None
    for name, position in first:
        yield f"{_quoted(f'in {name}')} -> {_quoted(f'n{position}')};"
    maker = {output: n for n, node in enumerate(drawing.nodes) for op in node.ops for output in op.outputs}
    for number, name in enumerate(drawing.graph.outputs):
        if name in maker:
            source = drawing.folded.node(maker[name])
            yield f"{_quoted(f'n{source}')} -> {_quoted(f'out {number}')};"


def _line(drawing: Drawing, value: str) -> str:
    shape = "×".join(map(str, drawing.graph.values[value].shape))
    tip = f"edgetooltip={_quoted(f'{value}  {shape}')}"
    fill = drawing.fill(value)
    return f'color="{fill.line}" penwidth=1.8 {tip}' if fill.letters else tip


def _tooltip(drawing: Drawing, node: Node) -> str:
    lines = [node.name or node.head.name, node.head.kind]
    lines += [f"{name}  {'×'.join(map(str, drawing.graph.values[name].shape))}" for name in node.parameters]
    lines += [f"{drawing.dim_name(dim)}: {drawing.dim_width(dim)}" for dim, _ in drawing.parts(node.output)]
    lines += dict.fromkeys(f"stays: {drawing.reasons[name]}" for name in node.parameters if name in drawing.reasons)
    return "\n".join(lines[:12])


def _legend(drawing: Drawing, columns: int) -> str:
    """A table of the dims that have a colour, in columns, with what the other fills mean below."""
    lettered = [dim for dim, colour in drawing.colours.items() if colour.letter]
    cells = [_dim_cells(drawing, dim) for dim in lettered[:MOST_ROWS]]
    height = -(-len(cells) // columns)
    rows = ["".join(cells[row::height]) for row in range(height)]
    span = 4 * columns
    notes = []
    if len(lettered) > MOST_ROWS:
        notes.append((PLAIN, f"and {len(lettered) - MOST_ROWS} more dims, by their letters"))
    if own := sum(alike for dim, alike in drawing.dims.items() if dim not in lettered):
        notes.append((OWN, f"pale: {own} dims that one layer writes alone; their colours come again"))
    wide = f'<td colspan="{span - 1}" align="left"><font color="{QUIET}">'
    rows += [f'<td bgcolor="{fill}" width="20"></td>{wide}{text}</font></td>' for fill, text in notes]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<table border="0" cellborder="0" cellspacing="2" cellpadding="2">{body}</table>'


def _dim_cells(drawing: Drawing, dim: int) -> str:
    colour, alike, layers = drawing.colours[dim], drawing.dims[dim], drawing.coupled[dim]
    notes = [f"{layers} layers" if layers > 1 else "", f"and {alike - 1} alike" if alike > 1 else ""]
    if drawing.widths.on_request(dim):
        notes.append("renormalises" if "→" in drawing.dim_width(dim) else "on request only")
    words = ", ".join(filter(None, notes))
    return (
        f'<td bgcolor="{colour.fill}" width="20"><font color="{INK}">{colour.letter}</font></td>'
        f'<td align="left"><font color="{PAGE}">{escape(drawing.dim_name(dim))}</font></td>'
        f'<td align="left"><font color="{PAGE}">{drawing.dim_width(dim)}</font></td>'
        f'<td align="left"><font color="{QUIET}" point-size="9">{words or " "}</font></td>'
    )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
