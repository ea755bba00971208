"""Pictures of graphs: what is coupled has one colour, what repeats is drawn once, and every form can be opened."""

from __future__ import annotations

import json
import re
import stat
import zlib
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from torch import Tensor, nn

import secateur
from secateur.cli.main import main
from secateur.errors import PlanError, SecateurError
from secateur.pictures import Picture, picture, rendering
from secateur.pictures.colours import FAINT, FILLS, INK, OWN, PAGE, PLAIN, QUIET, paler
from secateur.plugins import current

X = (torch.zeros(1, 3, 32, 32),)


def resnet() -> nn.Module:
    torch.manual_seed(0)
    return current().models["resnet20_cifar"].build()


@pytest.fixture(scope="module")
def graph() -> secateur.Graph:
    return secateur.trace(resnet(), X)


@pytest.fixture(scope="module")
def plan() -> secateur.Plan:
    return secateur.plan(resnet(), X)


@pytest.fixture(scope="module")
def drawn(graph: secateur.Graph, plan: secateur.Plan) -> Picture:
    return picture(graph, plan=plan, title="resnet20")


def boxes(drawn: Picture) -> dict[str, dict[str, str]]:
    """{the first line of a box's tooltip, its full name: its attributes and lines}."""
    found = {}
    for line in drawn.dot.splitlines():
        if match := re.match(r'\s*"n\d+" \[label=<(.*)> style="([^"]*)" fillcolor="([^"]*)" color="([^"]*)" .*', line):
            tooltip = line.partition('tooltip="')[2].rpartition('"]')[0]
            words = [re.sub(r"<[^>]*>", "", row).split("  ") for row in re.findall(r"<tr>(.*?)</tr>", match[1])]
            found[tooltip.split("\\n")[0]] = {
                "title": words[0][0],
                "letter": words[0][1] if len(words[0]) > 1 else "",
                "lines": " | ".join(" ".join(row) for row in words[1:]),
                "style": match[2],
                "fill": match[3],
                "tooltip": tooltip,
            }
    return found


def frames(drawn: Picture) -> list[str]:
    return re.findall(r'subgraph "cluster_[^"]*" \{ label="([^"]+)"', drawn.dot)


# -- what is shown -------------------------------------------------------------------------------------------------


def test_what_is_coupled_has_one_colour(drawn: Picture) -> None:
    found = boxes(drawn)
    stream = [found[name]["fill"] for name in ("conv1", "layer1.0.conv2", "layer1.0.add")]
    assert stream == [FILLS[0]] * 3
    assert found["layer1.0.conv1"]["fill"] == FILLS[1]
    assert found["layer2.0.downsample.0"]["fill"] == found["layer2.0.conv2"]["fill"] == found["layer2.1.conv2"]["fill"]
    assert [found[name]["letter"] for name in ("conv1", "layer1.0.conv1", "layer1.0.conv2")] == ["A", "B", "A"]


def test_boxes_say_what_a_layer_does_and_its_width_before_and_after(drawn: Picture) -> None:
    found = boxes(drawn)
    assert found["conv1"]["lines"] == "Conv 3×3 · 32×32 | 16 → 8 | bn1 · relu"
    assert found["layer2.0.conv1"]["lines"] == "Conv 3×3 /2 · 16×16 | 32 → 16 | bn1 · relu1"
    assert found["layer2.0.downsample.0"]["title"] == "downsample.0"
    assert (found["layer1.0.add"]["title"], found["layer1.0.add"]["lines"]) == ("add", "relu2")
    assert "conv1.weight  16×3×3×3" in found["conv1"]["tooltip"]


def test_without_a_plan_there_is_one_width(graph: secateur.Graph) -> None:
    found = boxes(picture(graph))
    assert "→" not in "".join(box["lines"] for box in found.values())
    assert found["conv1"]["lines"] == "Conv 3×3 · 32×32 | 16 | bn1 · relu"


def test_what_stays_is_dashed_and_says_why(drawn: Picture) -> None:
    box = boxes(drawn)["fc"]
    assert box["style"] == "rounded,filled,dashed"
    assert box["fill"] == PLAIN
    assert box["lines"] == "Linear | 10 | stays"
    assert "stays: it is an output of the model, in linear at fc" in box["tooltip"]


def test_the_legend_counts(drawn: Picture) -> None:
    legend = re.search(r"graph \[label=<(.*)> labelloc", drawn.dot)
    assert legend
    cells = [re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<td.*?</td>", legend[1])]
    rows = [cells[i : i + 4] for i in range(0, len(cells), 4)]
    assert ["A", "conv1", "16 → 8", "4 layers"] in rows
    assert ["B", "layer1.0.conv1", "16 → 8", "and 2 alike"] in rows
    assert ["E", "layer2.1.conv1", "32 → 16", "and 1 alike"] in rows
    assert len(rows) == 8


def test_no_legend(graph: secateur.Graph) -> None:
    assert "labelloc" not in picture(graph, legend=False).dot


def test_the_level_of_operations(graph: secateur.Graph) -> None:
    drawn = picture(graph, level="op", fold=False)
    found = boxes(drawn)
    assert len(found) == len(graph.ops) == 73
    assert found["bn1.batch_norm"]["title"] == "bn1"
    assert found["bn1.batch_norm"]["lines"] == "batch norm · 32×32"
    edges = re.findall(r'"n\d+" -> "n\d+"', drawn.dot)
    assert len(edges) == sum(len(near.predecessors) for near in graph.adjacency.values())


def test_parameters_are_coloured_along_each_axis(graph: secateur.Graph, plan: secateur.Plan) -> None:
    dot = picture(graph, plan=plan, parameters=True).dot
    row = re.search(r'<tr><td align="left">conv2\.weight</td>(.*?)</tr>', dot)
    assert row
    assert re.findall(r'bgcolor="([^"]*)">([^<]*)<', row[1]) == [
        (FILLS[0], "16 → 8"),
        (FILLS[1], "16 → 8"),
        (PLAIN, "3"),
        (PLAIN, "3"),
    ]
    assert "running_mean" in dot


def test_outputs_of_training_alone_are_not_drawn() -> None:
    entry = current().models["googlenet"]
    found = picture(secateur.trace(entry.build(), (torch.zeros(1, *entry.input_shape),)))
    assert found.dot.count('label="output') == 1
    assert "aux" not in found.dot
    assert {boxes(found)[name]["fill"] for name in ("conv1.conv", "inception3a.branch1.conv")} <= set(map(paler, FILLS))
    assert boxes(found)["inception3a.cat"]["style"] == "striped"


# -- folding -------------------------------------------------------------------------------------------------------


def test_equal_blocks_are_drawn_once(drawn: Picture, graph: secateur.Graph, plan: secateur.Plan) -> None:
    assert frames(drawn) == [
        "layer1.0 … layer1.2   ×3",
        "layer2",
        "layer2.0",
        "layer2.1 … layer2.2   ×2",
        "layer3",
        "layer3.0",
        "layer3.1 … layer3.2   ×2",
    ]
    assert len(boxes(drawn)) == 20
    assert len(boxes(picture(graph, plan=plan, fold=False))) == 32
    assert drawn.summary == "20 boxes for 73 operations"


def test_other_widths_after_are_another_block(graph: secateur.Graph) -> None:
    plan = secateur.plan(resnet(), X, prune={"layer1.1.conv1": 0.5})
    found = frames(picture(graph, plan=plan))
    assert found[:4] == ["layer1", "layer1.0", "layer1.1", "layer1.2"]
    assert "layer3.1 … layer3.2   ×2" in found


class Unit(nn.Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.narrow, self.wide = nn.Conv2d(width, 8, 1), nn.Conv2d(8, out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.wide(torch.relu(self.narrow(x)))


class Dense(nn.Module):
    """Each unit reads what all before it wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 1)
        self.units = nn.ModuleList([Unit(6 + 4 * k, 4) for k in range(5)])

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for unit in self.units:
            features.append(unit(torch.cat(features, 1)))
        return torch.cat(features, 1).sum((2, 3))


def test_units_that_read_all_before_them_are_folded() -> None:
    found = picture(secateur.trace(Dense(), (torch.zeros(1, 3, 5, 5),)))
    assert len(boxes(found)) <= 6
    assert [frame for frame in frames(found) if "each reads all before it" in frame]


class Stack(nn.Module):
    """Equal residual units; the outputs of some are read at the end too."""

    def __init__(self, units: int, tapped: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 1)
        self.units, self.tapped = nn.ModuleList([Unit(6, 6) for _ in range(units)]), tapped

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        taps = []
        for index, unit in enumerate(self.units):
            x = x + unit(x)
            if index in self.tapped:
                taps.append(x)
        return torch.stack([x, *taps]).sum((0, 3, 4))


def stack(*arguments: object) -> Picture:
    return picture(secateur.trace(Stack(*arguments), (torch.zeros(1, 3, 5, 5),)))  # type: ignore[arg-type]


def test_a_deep_network_is_as_small_as_a_shallow_one() -> None:
    deep = stack(48)
    assert len(boxes(deep)) == len(boxes(stack(3))) == 6
    assert frames(deep)[0] == "units.0 … units.47   ×48"


def test_a_unit_that_others_read_is_not_folded_away() -> None:
    assert frames(stack(6)) == ["units.0 … units.5   ×6", "units.0"]
    tapped = stack(6, (1,))
    assert frames(tapped)[::2] == ["units.0 … units.1   ×2", "units.2 … units.5   ×4"]
    assert len(boxes(tapped)) == 9


def test_heads_and_their_width_are_a_product() -> None:
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    model = nn.Sequential(nn.Linear(8, 32), layer, nn.Linear(32, 3))
    x = (torch.zeros(2, 5, 8),)
    plan = secateur.plan(model, x, renormalise=True)
    found = boxes(picture(secateur.trace(model, x), plan=plan))
    assert "×" in found["0"]["letter"]
    assert found["1.linear1"]["lines"].startswith("Linear | 64 → 32")


# -- forms ---------------------------------------------------------------------------------------------------------


def test_svg(drawn: Picture) -> None:
    text = drawn.render("svg").decode()
    root = ElementTree.fromstring(text)
    assert root.attrib["aria-label"] == "resnet20"
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"conv1", "16 → 8", "layer1.0 … layer1.2 \xa0\xa0×3"} <= set(words)
    titles = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert any(title.startswith("layer1.0.conv1\nconv2d\n") for title in titles)
    assert not [title for title in titles if re.fullmatch(r"n\d+|cluster_\S+", title)]
    assert "Generated by" not in text
    assert drawn._repr_svg_().startswith("<svg ")


def test_png_has_the_dots_it_is_asked_for(drawn: Picture) -> None:
    def size(dpi: int) -> tuple[int, int]:
        made = drawn.render("png", dpi=dpi)
        assert made[:8] == b"\x89PNG\r\n\x1a\n"
        return int.from_bytes(made[16:20]), int.from_bytes(made[20:24])

    small, large = size(48), size(96)
    assert abs(large[0] - 2 * small[0]) <= 2
    assert small[1] > small[0] > 100


def test_pdf_is_whole_and_its_text_can_be_found(drawn: Picture) -> None:
    made = drawn.render("pdf")
    assert made.startswith(b"%PDF-1.4\n")
    assert made.endswith(b"%%EOF\n")
    start = int(made.rsplit(b"startxref\n", 1)[1].split()[0])
    assert made[start:].startswith(b"xref\n0 5\n")
    places = [int(line.split()[0]) for line in made[start:].splitlines()[3:7]]
    assert [made[place : place + 7] for place in places] == [f"{n} 0 obj".encode() for n in (1, 2, 3, 4)]
    content = zlib.decompress(made.split(b"stream\n", 1)[1].split(b"\nendstream", 1)[0]).decode("latin-1")
    assert f"<{b'conv1'.hex()}> Tj" in content
    assert "/S 11 Tf <ae> Tj" in content  # the arrow
    assert content.count("q\n") == content.count("\nQ")


def test_html_needs_nothing_else(drawn: Picture) -> None:
    text = drawn.render("html").decode()
    assert text.startswith("<!DOCTYPE html>")
    assert set(re.findall(r"https?://[\w.]+", text)) == {"http://www.w3.org"}  # the names of SVG
    assert "<title>resnet20</title>" in text
    assert "prefers-color-scheme: dark" in text
    assert text.count("<svg ") == 1
    assert not re.search(r"<(?:script|img|link)[^>]* (?:src|href)=", text)


def test_names_with_signs_of_their_own() -> None:
    model = nn.Sequential()
    model.add_module('a<b>&"c"\\d', nn.Linear(4, 8))
    model.add_module("ü→", nn.Linear(8, 4))
    drawn = picture(secateur.trace(model, (torch.zeros(3, 4),)), parameters=True, title="<&>")
    words = [element.text for element in ElementTree.fromstring(drawn.render("svg")).iter()]
    assert {'a<b>&"c"\\d', "ü→"} <= set(words)
    assert "<title>&lt;&amp;&gt;</title>" in drawn.render("html").decode()
    for form in ("png", "pdf"):
        assert drawn.render(form)


@pytest.mark.parametrize("name", ["x.svg", "x.png", "x.pdf", "x.html", "x.dot", "x.gv"])
def test_saving(name: str, drawn: Picture, tmp_path: Path) -> None:
    drawn.save(tmp_path / name)
    assert (tmp_path / name).read_bytes() == drawn.render(name[2:])
    assert [each.name for each in tmp_path.iterdir()] == [name]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("fill", [*FILLS, *map(paler, FILLS), OWN, PLAIN])
def test_text_is_legible_on_every_fill(fill: str) -> None:
    for text in (INK, FAINT):
        assert (luminance(fill) + 0.05) / (luminance(text) + 0.05) >= 4.5


def test_text_is_legible_on_the_page() -> None:
    for text in (PAGE, QUIET):
        assert 1.05 / (luminance(text) + 0.05) >= 4.5


# -- errors --------------------------------------------------------------------------------------------------------


def test_a_plan_of_another_model(graph: secateur.Graph) -> None:
    other = current().models["resnet20_cifar"].build(num_classes=4)
    with pytest.raises(PlanError, match=r"^fc.weight: the plan was made for shape \(4, 64\), it has \(10, 64\); draw"):
        picture(graph, plan=secateur.plan(other, X))
    model = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 2))
    with pytest.raises(PlanError, match=r"^picture: the plan lets units of '0' leave, and the graph has no such dim; "):
        picture(graph, plan=secateur.plan(model, (torch.zeros(1, 3),)))


def test_a_thinned_model_and_the_plan_it_was_thinned_by(plan: secateur.Plan) -> None:
    model = resnet()
    secateur.thin(model, plan)
    with pytest.raises(
        PlanError, match=r"^conv1.weight: the plan was made for shape \(16, 3, 3, 3\), it has \(8, 3, 3"
    ):
        picture(secateur.trace(model, X), plan=plan)


def test_what_cannot_be_asked_for(graph: secateur.Graph, drawn: Picture, tmp_path: Path) -> None:
    with pytest.raises(SecateurError, match=r"^picture: 'modul' is no level; did you mean 'module'\?"):
        picture(graph, level="modul")  # type: ignore[arg-type]
    with pytest.raises(PlanError, match=r"^picture: plan is of type int; give what secateur.plan returned"):
        picture(graph, plan=3)  # type: ignore[arg-type]
    with pytest.raises(SecateurError, match=r"^picture: 'up' is no direction; \(known: down, right\)"):
        picture(graph, direction="up")  # type: ignore[arg-type]
    with pytest.raises(SecateurError, match=r"^render: 'swg' is no form of a picture; did you mean 'svg'\?"):
        drawn.render("swg")
    with pytest.raises(SecateurError, match=r"x.jpg: .jpg is no form of a picture; name a file in one of .svg, .png, "):
        drawn.save(tmp_path / "x.jpg")
    with pytest.raises(SecateurError, match=r"x: a name without a suffix is no form of a picture"):
        drawn.save(tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_nothing_that_draws(drawn: Picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(rendering.sys, "executable", str(tmp_path / "python"))
    for form in ("svg", "png", "pdf", "html"):
        with pytest.raises(
            SecateurError, match=r"^pictures: there is no program that draws DOT; pip install 'secateur\["
        ):
            drawn.render(form)
    assert drawn.render("dot").startswith(b"digraph")


def fake(place: Path, body: str) -> None:
    program = place / "dot"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


def test_a_program_that_fails_or_never_ends(drawn: Picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    fake(tmp_path, "cat > /dev/null; echo 'syntax error in line 3' >&2; exit 1")
    with pytest.raises(SecateurError, match=r"^pictures: dot failed: syntax error in line 3; save the DOT text"):
        drawn.render("svg")
    monkeypatch.setattr(rendering, "TIMEOUT", 0.2)
    fake(tmp_path, "exec sleep 30")
    with pytest.raises(SecateurError, match=r"^pictures: dot took more than 0.2 seconds; draw fewer boxes: "):
        drawn.render("svg")


# -- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_prints_the_program(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "resnet20_cifar"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.rstrip("\n") == str(secateur.trace(resnet(), X)).rstrip("\n")


def test_the_command_draws(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "resnet20_cifar", "--prune", "0.5", "-o", "x.svg"]) == 0
    assert capsys.readouterr().out == "wrote x.svg: 20 boxes for 73 operations\n"
    assert "16 → 8" in (place / "x.svg").read_text()
    options = ["--level", "op", "--no-fold", "--no-legend", "--parameters", "--direction", "right"]
    assert main(["graph", "resnet20_cifar", *options, "-o", "x.dot"]) == 0
    text = (place / "x.dot").read_text()
    assert "rankdir=LR" in text
    assert len(re.findall(r'^\s*"n\d+" \[', text, re.MULTILINE)) == 73
    assert '"p 0"' in text
    assert "labelloc" not in text
    assert "→" not in text


def test_the_command_follows_a_saved_plan(place: Path, capsys: pytest.CaptureFixture[str], plan: secateur.Plan) -> None:
    (place / "plan.json").write_text(json.dumps(plan.to_dict()))
    assert main(["graph", "resnet20_cifar", "--plan", "plan.json", "-o", "x.dot"]) == 0
    assert "64 → 32" in (place / "x.dot").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--level", "op"],
            "secateur graph: --level goes with a picture; say where to with -o, such as -o network.svg",
        ),
        (["--prune", "0.5"], "secateur graph: --prune goes with a picture; "),
        (["--plan", "p"], "secateur graph: --plan goes with a picture; "),
        (
            ["--plan", "p", "--prune", "0.5", "-o", "x.svg"],
            "secateur graph: --plan says what leaves, --prune does too; ",
        ),
        (["--plan", "none.json", "-o", "x.svg"], "none.json: the plan cannot be read (No such file or directory); "),
        (["-o", "x.jpg"], "x.jpg: .jpg is no form of a picture; name a file in one of .svg, .png, .pdf, .html, .dot, "),
        (["-o", "no/x.svg"], "no/x.svg: there is no folder "),
        (["--dpi", "0", "-o", "x.png"], "secateur graph: --dpi is 0; give a number from 10 to 1200"),
        (["--level", "modules", "-o", "x.svg"], "secateur graph: argument --level: invalid choice: 'modules' "),
        (["--prune", "2", "-o", "x.svg"], "prune: a ratio must be in [0, 1), got 2.0; "),
    ],
)
def test_bad_options(options: list[str], message: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["graph", "resnet20_cifar", *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert not list(place.iterdir())
