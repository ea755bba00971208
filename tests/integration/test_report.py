"""What reports say: of a thinning, of a run, of one that was interrupted; numbers in words; names that are hostile."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest
from attrs import evolve

from secateur.cli.main import main
from secateur.coupling.refusals import Refusal
from secateur.errors import SecateurError
from secateur.report import ReportContent, to_html, write_html
from secateur.report.axes import linear, logarithmic, scaled
from secateur.report.content import (
    Chart,
    Configuration,
    Figure,
    Held,
    Module,
    Picture,
    Proof,
    Pruned,
    Series,
    Sheet,
    Stay,
    Tally,
)
from secateur.report.drawing import draw
from secateur.report.gathering import split_reason, stays_of
from secateur.report.grouping import groups
from secateur.report.spelling import change, spelled

HOSTILE = "</script><script>alert(1)</script><b onclick='x'>\"&"
APART = {"td", "th", "dt", "dd", "li", "p", "small", "code", "summary", "h1", "h2", "h3"}
VOID = {"meta", "link", "br", "img", "input"}

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.body = nn.Conv2d(width, width, 3, padding=1)
        self.fc = nn.Linear(width, 5)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        return self.fc(torch.relu(x + self.body(x)).mean((2, 3)))
"""

PLUGIN = Path(__file__).with_name("squares.py").read_text(encoding="utf-8")

SCHEDULE = """\
version: 1  # <b>bold</b>
run:
  model: {name: tiny}
  data: {name: squares, batch_size: 20}
  optimizer: {class: Adam, lr: 0.02}
  epochs: 4
pruners:
  half: {class: magnitude, sparsity: 0.5}
extensions:
  thinner: {class: thinner}
policies:
  - pruner: {instance_name: half}
    epochs: [1]
  - extension: {instance_name: thinner}
    epochs: [2]
"""


class Page(HTMLParser):
    """The tags of a page with their attributes, its text, and whether all that opens is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._open = "", list[str]()
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self.text += " " if tag in APART else ""

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in ("style", "script"):
            self.text += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self) -> str:
        """The text with single spaces."""
        return " ".join(self.text.split())


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    Path("tiny.py").write_text(PLUGIN)
    Path("s.yaml").write_text(SCHEDULE)
    return tmp_path


def read(path: str) -> Page:
    return Page(Path(path).read_text(encoding="utf-8"))


def thinned(*options: str) -> Page:
    assert main(["thin", "net.py:Net", "--input", "2,1,8,8", "-o", "x", "--report", "r.html", *options]) == 0
    return read("r.html")


# -- a thinning ----------------------------------------------------------------------------------------------------


def test_a_thinning_is_told_from_headline_to_command(capsys: pytest.CaptureFixture[str]) -> None:
    page = thinned("--latency", "--seed", "3")
    assert "report: r.html" in capsys.readouterr().out
    for words in (
        "net.py:Net, thinned",
        "4 of 8 units left",
        "Parameters 709 →to 213 3.3× fewer",
        "The thinned network computes what the masked one did: the outputs differ by at most",
        "The checkpoint, loaded into a fresh dense network, gives the same: the outputs are equal to the last bit.",
        "stem with body 4 / 8 50.0 %",
        "It is an output of the model 2 axes",
        "fc.weight 0 5 / 5 linear fc (net.py:",
        "One forward pass of inputs of 2×1×8×8 on CPU",
        "body Conv2d 584 148 25.3 % 36.9 k 9.22 k 2×8×8×8 2×4×8×8",
        "$ secateur thin net.py:Net --input 2,1,8,8 -o x --report r.html --latency --seed 3".removeprefix("$ "),
        "model = secateur.load('x', Net())",
        "seed 3",
    ):
        assert words in page.words, page.words
    assert re.search(r"torch \d+\.\d+", page.words)
    assert "secateur-thinners 0.1.0" in page.words


def test_without_a_program_that_draws_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secateur.pictures.rendering.PROGRAMS", ())
    page = thinned()
    assert page.attributes("img") == []
    assert "The network No picture: pictures: there is no program that draws DOT; pip install" in page.words


def test_what_was_not_measured_is_said() -> None:
    page = thinned("--no-verify")
    assert "The masked and the thinned network were not compared (--no-verify)." in page.words
    assert "It was not timed; --latency times the network before and after." in page.words
    assert "not compared" in page.words


def test_a_plan_that_lets_nothing_leave() -> None:
    page = thinned("--prune", "0")
    assert "net.py:Net, as it was The plan lets nothing leave." in page.words
    assert "Parameters 709 →to 709 unchanged" in page.words


def test_a_network_that_cannot_be_built_alike_again_is_not_compared(place: Path) -> None:
    Path("net.py").write_text(NET + "\nsizes = [8]\n\ndef odd():\n    return Net(sizes.pop() if sizes else 9)\n")
    text = Path("net.py").read_text().replace("sizes = [8]", "import sys\nsizes = sys.__dict__.setdefault('_s', [8])")
    Path("net.py").write_text(text)
    try:
        assert main(["thin", "net.py:odd", "--input", "1,1,8,8", "-o", "x", "--report", "r.html"]) == 0
    finally:
        vars(__import__("sys")).pop("_s", None)
    assert "The checkpoint was not compared: x: " in read("r.html").words


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ("x", "x: the report would replace the checkpoint; name another file"),
        ("no/r.html", "no/r.html: there is no folder "),
        (".", ".: it is a folder; name a file in it"),
    ],
)
def test_a_report_that_cannot_be_written_is_refused_first(
    report: str, message: str, capsys: pytest.CaptureFixture[str], place: Path
) -> None:
    assert main(["thin", "net.py:Net", "--input", "2,1,8,8", "-o", "x", "--report", report]) == 2
    assert f"error: {message}" in capsys.readouterr().err
    assert not (place / "x").exists()


# -- a run ---------------------------------------------------------------------------------------------------------


def test_a_run_writes_its_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--plugin-file", "tiny.py", "run", "s.yaml", "-o", "out"]) == 0
    assert "look at it:  out/report.html" in capsys.readouterr().out
    page = read("out/report.html")
    summary = json.loads(Path("out/summary.json").read_text())
    assert "tiny on squares" in page.words
    assert "4 of 8 units left the network." in page.words
    assert "Parameters 268 →to 136 2.0× fewer" in page.words
    assert f"{100 * summary['final_accuracy']:.1f} %" in page.words
    assert "secateur --plugin-file tiny.py run s.yaml -o out" in page.words
    assert "version: 1 # <b>bold</b>" in page.words
    charts = [json.loads(figure["data-chart"] or "") for figure in page.attributes("figure")]
    assert [len(chart["rows"]) for chart in charts] == [2, 2, 2, 1, 1, 1]
    assert charts[0]["at"] == ["epoch 0", "epoch 1", "epoch 2", "epoch 3"]
    marks = [a for a in page.attributes("line") if a.get("class") == "mark"]
    assert {mark["x1"] for mark in marks} == {"50.0%"}  # between the ends of epochs 1 and 2
    assert len(marks) == len(charts)


def test_an_interrupted_run_tells_how_far_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    from secateur.training.interrupt import Interrupt

    asked = iter([False] * 3 + [True] * 100)
    monkeypatch.setattr(Interrupt, "asked", property(lambda self: next(asked), lambda self, value: None), raising=False)
    assert main(["--plugin-file", "tiny.py", "run", "s.yaml", "-o", "out"]) == 130
    page = read("out/report.html")
    assert (
        "Interrupted at epoch 1, step 1. It goes on with: secateur --plugin-file tiny.py run s.yaml -o out --resume"
        in page.words
    )
    assert "It is timed when the run is finished." in page.words
    assert "1 of 4" in page.words
    assert "Nothing was thinned yet." in page.words
    assert "4 more are masked, and would leave at the next thinning" in page.words
    assert not Path("out/thin.safetensors").exists()


def test_a_report_that_cannot_be_written_spoils_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out/report.html").mkdir(parents=True)
    assert main(["--plugin-file", "tiny.py", "run", "s.yaml", "-o", "out"]) == 0
    assert "warning: no report was written: out/report.html: it is a folder" in capsys.readouterr().err
    assert Path("out/thin.safetensors").exists()


# -- the page ------------------------------------------------------------------------------------------------------


def test_the_page_needs_nothing_else() -> None:
    text = to_html(ReportContent(title="t", picture=Picture(svg="<svg/>")))
    page = Page(text)
    assert [a["src"] for a in page.attributes("img")] == ["data:image/svg+xml;base64,PHN2Zy8+"]
    assert [a["href"] for a in page.attributes("link")] == ["data:,"]
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert "url(" not in text
    policy = next(a["content"] for a in page.attributes("meta") if a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-")


def test_a_report_of_nothing_is_a_page() -> None:
    page = Page(to_html(ReportContent(title="t")))
    assert [a["href"] for a in page.attributes("a")] == ["#main", "#again"]


def test_names_are_never_markup() -> None:
    content = ReportContent(
        title=HOSTILE,
        lead=HOSTILE,
        warning=HOSTILE,
        figures=(Figure(HOSTILE, 2, 1, "count", note=HOSTILE),),
        pruned=(Pruned(HOSTILE, 4, 2, 1, (HOSTILE,), HOSTILE),),
        stays=(Stay(HOSTILE, (Held(HOSTILE, 0, 4, 4, HOSTILE, HOSTILE),)),),
        cautions=(HOSTILE,),
        proofs=(Proof(HOSTILE, HOSTILE, 0.0, 0.0, 1e-4),),
        charts=(evolve(chart(1.0, 2.0), title=HOSTILE, series=(Series(HOSTILE, (1.0, 2.0)),), x_label=HOSTILE),),
        history=Sheet((HOSTILE,), ((HOSTILE,),)),
        picture=Picture(svg=HOSTILE, note=HOSTILE),
        modules=(Module(HOSTILE, HOSTILE, Tally(1, 1), None),),
        untimed=HOSTILE,
        configuration=Configuration(HOSTILE, f"a: {HOSTILE}\n{HOSTILE}"),
        facts=((HOSTILE, HOSTILE),),
        versions=((HOSTILE, HOSTILE),),
        command=HOSTILE,
        code=HOSTILE,
    )
    page, plain = Page(to_html(content)), Page(to_html(ReportContent(title="t")))
    assert len(page.attributes("script")) == len(plain.attributes("script")) == 1
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    assert page.text.count(HOSTILE) > 25


def test_tables_and_headings_are_accessible() -> None:
    page = thinned()
    assert page.attributes("html")[0]["lang"] == "en"
    assert all(a.get("scope") in ("col", "row", "colgroup") for a in page.attributes("th"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert all(a["href"] is None or a["href"][1:] in ids for a in page.attributes("a"))
    assert all(a.get("role") == "region" and a.get("aria-label") for a in page.attributes("div") if "tabindex" in a)


TEXTS = {
    "ink": ("paper", "card", "faint", "bad-bg"),
    "soft": ("paper", "card", "faint"),
    "accent": ("paper", "card"),
    "good": ("good-bg",),
    "bad": ("bad-bg",),
    "even": ("even-bg",),
    "key": ("faint",),
    "str": ("faint",),
    "num": ("faint",),
}
"""Colours of texts, and the grounds that they stand on."""


@pytest.mark.parametrize("scheme", [0, 1, 2], ids=["light", "dark", "print"])
def test_texts_can_be_told_from_their_ground(scheme: int) -> None:
    style = (files("secateur.report") / "templates" / "report.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([\w-]+):(#[0-9a-f]{3,6})\b", re.findall(r":root\{(.*?)\}", style)[scheme]))
    for text, grounds in TEXTS.items():
        for ground in grounds:
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)  # WCAG 2.2, 1.4.3
    for line in ("s0", "s1", "s2", "s3"):
        assert contrast(colours[line], colours["card"]) >= 3  # 1.4.11


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, by WCAG 2.2."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_a_failed_proof_is_the_first_thing_seen() -> None:
    page = Page(to_html(ReportContent(title="t", proofs=(Proof("Masked", "It differs.", 0.3, 1.0, 1e-4),))))
    assert [a for a in page.attributes("p") if a.get("class") == "verdict bad"]
    assert "failed" in page.words


def test_a_difference_that_is_no_number_has_not_passed() -> None:
    proof = Proof("Masked", "It differs.", float("nan"), float("nan"), 1e-4)
    assert proof.passed is False
    Page(to_html(ReportContent(title="t", proofs=(proof, evolve(proof, relative=float("inf"))))))


def test_writing_is_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(SecateurError, match="there is no folder"):
        write_html(tmp_path / "no" / "r.html", ReportContent(title="t"))
    write_html(tmp_path / "r.html", ReportContent(title="t"))
    assert (tmp_path / "r.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


# -- charts and numbers --------------------------------------------------------------------------------------------


def chart(*values: float | None, **options: object) -> Chart:
    x = tuple(float(n) for n in range(len(values)))
    return Chart(**({"title": "t", "unit": "number", "x": x, "series": (Series("s", values),)} | options))  # type: ignore[arg-type]


def test_lines_stop_where_there_is_no_number() -> None:
    drawn = draw(chart(1.0, 2.0, None, float("nan"), 3.0, 4.0))
    assert drawn is not None
    assert drawn.lines[0].path.count("M") == 2
    assert drawn.lines[0].path.count("L") == 2
    assert [row is None for row in drawn.data["rows"][0]["y"]] == [False, False, True, True, False, False]
    json.dumps(drawn.data, allow_nan=False)


def test_a_chart_without_numbers_is_left_out() -> None:
    assert draw(chart(None, float("nan"))) is None
    assert draw(chart()) is None
    assert Page(to_html(ReportContent(title="t", charts=(chart(None),)))).attributes("figure") == []


@pytest.mark.parametrize("values", [(5.0,), (0.0, 0.0), (1e-30, 1e-30), (-3.0, 7.0), (1e9, 1e9 + 1)])
def test_any_numbers_can_be_drawn(values: tuple[float, ...]) -> None:
    drawn = draw(chart(*values))
    assert drawn is not None
    assert all(-0.01 <= y <= 100.01 for _, y, _ in drawn.lines[0].dots)
    assert len({text for _, text in drawn.y_ticks}) == len(drawn.y_ticks) >= 2


def test_steep_lines_are_logarithmic() -> None:
    assert scaled([1.0, 1000.0])[0].logarithmic
    assert not scaled([0.0, 1000.0])[0].logarithmic
    assert not scaled([1.0, 1000.0], from_zero=True)[0].logarithmic
    scale, ticks = logarithmic([3.0, 70.0])
    assert scale.share(ticks[0]) == 0
    assert scale.share(ticks[-1]) == pytest.approx(1)
    assert ticks == [2.0, 5.0, 10.0, 20.0, 50.0, 100.0]


def test_the_summary_of_a_chart_is_for_those_who_do_not_see_it() -> None:
    drawn = draw(chart(0.25, 0.5, unit="share", title="Accuracy"))
    assert drawn is not None
    assert drawn.summary == "Accuracy: s from 25.0\u202f% at epoch 0 to 50.0\u202f% at epoch 1."


@pytest.mark.parametrize(
    ("figure", "word", "tone"),
    [
        (Figure("p", 100, 50, "count"), "2.0× fewer", "good"),
        (Figure("p", 100, 100, "count"), "unchanged", "even"),
        (Figure("l", 1.0, 1.5, "seconds"), "1.5× slower", "bad"),
        (Figure("a", 0.9, 0.92, "share", "more"), "+2.0 points", "good"),
        (Figure("a", 0.9, 0.898, "share", "more"), "\u22120.2 points", "even"),
        (Figure("ppl", 100.0, 110.0, "number"), "+10.0\u202f%", "bad"),
        (Figure("ppl", 100.0, float("inf"), "number"), "", "even"),
        (Figure("a", None, 0.9, "share", "more"), "", "even"),
        (Figure("p", 0, 0, "count"), "unchanged", "even"),
    ],
)
def test_what_became_of_a_number(figure: Figure, word: str, tone: str) -> None:
    assert change(figure) == (word, tone)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (999.6, "count", "1.00 k"),
        (999_950, "count", "1.00 M"),
        (12.5, "count", "12.5"),
        (0, "count", "0"),
        (1500, "bytes", "1.50 kB"),
        (59.0, "seconds", "59.0 s"),
        (0.00042, "seconds", "420 µs"),
        (0.0, "seconds", "0 s"),
        (112.41, "number", "112"),
        (0.00001, "number", "1.0e-05"),
        (float("inf"), "number", "infinite"),
    ],
)
def test_numbers_have_three_digits(value: float, unit: str, text: str) -> None:
    assert spelled(value, unit).replace("\u202f", " ") == text  # type: ignore[arg-type]


def test_linear_ticks_are_round() -> None:
    assert linear([0.93, 0.98])[1] == [0.93, 0.94, 0.95, 0.96, 0.97, 0.98]
    assert linear([0.0, 272474.0], from_zero=True)[1] == [0.0, 100000.0, 200000.0, 300000.0]


# -- reasons and groups --------------------------------------------------------------------------------------------


def test_reasons_are_grouped_whatever_the_place() -> None:
    why = "layer norm averages over it, in layer_norm at {} (net.py:3) (renormalise=True prunes it all the same)"
    found = stays_of(
        [
            Refusal("head.weight", 0, 5, 5, ("it is an output of the model, in linear at head (net.py:9)",)),
            *(Refusal(f"{n}.weight", 0, 4, 4, (why.format(f"{n}.norm"),)) for n in range(3)),
        ]
    )
    assert [stay.reason for stay in found] == [
        "layer norm averages over it (renormalise=True prunes it all the same)",
        "it is an output of the model",
    ]
    assert [held.place for held in found[0].held] == [f"{n}.norm (net.py:3)" for n in range(3)]
    assert {held.operation for held in found[0].held} == {"layer_norm"}


def test_an_axis_is_told_once_for_each_reason() -> None:
    reasons = tuple(f"layer_norm averages over it, in layer_norm at {n}.norm (net.py:{n})" for n in range(3))
    (stay,) = stays_of([Refusal("stem.weight", 0, 8, 8, reasons), Refusal("stem.bias", 0, 8, 8, reasons[:1])])
    assert [(held.parameter, held.place, held.more) for held in stay.held] == [
        ("stem.weight", "0.norm (net.py:0)", 2),
        ("stem.bias", "0.norm (net.py:0)", 0),
    ]
    page = Page(to_html(ReportContent(title="t", stays=(stay,))))
    assert "layer_norm averages over it 2 axes" in page.words
    assert "0.norm (net.py:0)and 2 more places" in page.words


def test_of_many_partners_some_are_named() -> None:
    dim = Pruned("stem", 1200, 600, 0, tuple(f"block{n}" for n in range(9)), "renormalises")
    words = Page(to_html(ReportContent(title="t", pruned=(dim,)))).words
    assert "stem renormalises; with block0, block1, block2, block3 and 5 more 600 / 1,200 50.0 %" in words


def test_a_wide_picture_is_not_made_unreadably_small() -> None:
    def boxes(width: int) -> list[dict[str, str | None]]:
        svg = f'<?xml version="1.0"?><svg role="img" width="{width}pt" height="9pt"/>'
        return Page(to_html(ReportContent(title="t", picture=Picture(svg=svg)))).attributes("input")

    assert ["checked" in box for width in (600, 5000) for box in boxes(width)] == [True, False]


def test_reasons_of_any_form_are_kept() -> None:
    for text in ("nothing to split", "", "in the end, it stays", "(a) b, in c"):
        assert split_reason(text) == (text, "", "")


def test_large_parts_are_split_into_their_own_parts() -> None:
    modules = [Module(f"encoder.{n}.{part}", "Linear", Tally(4, 4), Tally(2, 2)) for n in range(20) for part in "abc"]
    found = groups(modules)
    assert [group.name for group in found] == [f"encoder.{n}" for n in range(20)]
    assert found[0].before == Tally(12, 12)
    assert found[0].changed == 3
    assert sum(len(group.modules) for group in found) == len(modules)
