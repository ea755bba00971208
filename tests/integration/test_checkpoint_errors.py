"""A checkpoint that does not fit is refused with one message, and nothing is changed."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import secateur
from secateur.checkpoint import checksum, inspect
from secateur.errors import CheckpointError
from secateur.hookspecs import hookimpl
from secateur.plugins import PluginManager, using

INPUT = (torch.randn(2, 6, generator=torch.Generator().manual_seed(1)),)


def fresh(width: int = 8, classes: int = 3, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, classes))


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.01)


def train(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(*INPUT).square().mean().backward()
    optimizer.step()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A checkpoint of a thin network with its optimizer."""
    model = fresh()
    optimizer = adam(model)
    train(model, optimizer)
    secateur.thin(model, secateur.plan(model, INPUT), optimizer)
    path = tmp_path / "thin.safetensors"
    secateur.save(path, model, optimizer)
    return path


def edit(file: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Path:
    """Rewrite header and metadata, with a checksum that is right: `change(header, what Secateur says)`."""
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    said = json.loads(header["__metadata__"]["secateur"])
    change(header, said)
    if "secateur" in header["__metadata__"]:
        header["__metadata__"]["secateur"] = json.dumps(said)
    header["__metadata__"][checksum.KEY] = checksum.BLANK
    text = json.dumps(header, separators=(",", ":")).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    checksum.seal(file)
    return file


def state(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> Any:
    """Everything that must not change, comparable."""
    tensors = {name: (id(t), t.data_ptr(), t.tolist()) for name, t in model.state_dict(keep_vars=True).items()}
    grads = {name: p.grad.tolist() if p.grad is not None else None for name, p in model.named_parameters()}
    attributes = {name: repr(module.extra_repr()) for name, module in model.named_modules()}
    held = optimizer.state_dict() if optimizer is not None else None
    return tensors, grads, attributes, sorted(model.__dict__), repr(held)


def refused(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> str:
    """The message without the file, which it starts with; the model is checked to be as it was."""
    before = state(model, optimizer)
    with pytest.raises(CheckpointError) as error:
        secateur.load(path, model, optimizer)
    assert state(model, optimizer) == before
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


# -- files that are no checkpoint ----------------------------------------------------------------------------------


def test_missing(file: Path) -> None:
    assert refused(file.with_name("other"), fresh()) == "there is no such file; in that folder are thin.safetensors"
    nowhere = file.parent / "no" / "x"
    assert refused(nowhere, fresh()) == f"there is no such file; there is no folder {str(nowhere.parent)!r} either"


def test_folder(tmp_path: Path) -> None:
    assert refused(tmp_path, fresh()) == "it is a folder; name the checkpoint file in it"


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_truncated(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    text = refused(file, fresh())
    assert text.startswith(f"it is truncated: {int(len(content) * share):,} bytes, where there should be ")
    assert text.endswith("; copy or save it again")
    if share > 0.9:
        assert f"there should be {len(content):,};" in text


def test_something_appended(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"12")
    assert "bytes that its header does not account for; copy or save it again" in refused(file, fresh())


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    torch.save(fresh().state_dict(), tmp_path / "x.pt")
    assert refused(tmp_path / "x.pt", fresh()).startswith(
        "it is a pickle (of torch.save?), which is never read, because reading a pickle can run any code; load it with "
    )


@pytest.mark.parametrize("content", [b"hello, this is a text", b"\x7fELF" + bytes(100)])
def test_another_format(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    assert refused(tmp_path / "x", fresh()) == ("it is not a safetensors file; give a file that secateur.save wrote")


def test_a_damaged_header(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[20:30] = b"\xff" * 10
    file.write_bytes(bytes(content))
    assert refused(file, fresh()).startswith("its header is damaged (")


def test_safetensors_of_somebody_else(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(fresh().state_dict(), tmp_path / "x")
    text = refused(tmp_path / "x", fresh())
    assert text.startswith("it is a safetensors file, but not a Secateur checkpoint (it holds no recipe); give a file")
    with pytest.raises(CheckpointError, match="not a Secateur checkpoint"):
        inspect(tmp_path / "x")


def test_another_version(file: Path) -> None:
    edit(file, lambda header, said: said.update(format=3, version="9.1"))
    assert refused(file, fresh()) == (
        f"it has format 3, written by Secateur 9.1; Secateur {secateur.__version__} reads formats 1 to 2; "
        "read it with Secateur 9.1"
    )


def test_a_recipe_of_another_format(file: Path) -> None:
    edit(file, lambda header, said: said["recipe"].update(format=7))
    assert refused(file, fresh()) == "recipe: expected a recipe of format 1, found 7; save it again"


@pytest.mark.parametrize(
    "change",
    [
        lambda header, said: said.pop("recipe"),
        lambda header, said: said.update(tied=[1]),
        lambda header, said: said.update(optimizer={"class": "Adam"}),
        lambda header, said: said["optimizer"]["groups"][0]["options"].update(lr={"odd": 1}),
        lambda header, said: said["optimizer"]["state"].update(ghost={}),
        lambda header, said: said["recipe"]["steps"][0]["attributes"].append(["0", "bias", 1, "x"]),
        lambda header, said: said["recipe"]["steps"][0]["tensors"]["0.weight"].update(kept={"0": [[0, 99]]}),
        lambda header, said: said["recipe"]["steps"][0]["tensors"]["0.weight"].update(kept={"0": [[5, 2]]}),
    ],
)
def test_damaged_metadata(file: Path, change: Any) -> None:
    edit(file, change)
    text = refused(file, fresh(), None)
    assert "damaged" in text
    assert text.endswith("; save it again")


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"5": [[0, 4]]}, "damaged"),
        ({"-1": [[0, 4]]}, "its recipe is damaged: it cuts 2 slices of axis -1 of '0.weight', shape (8, 6)"),
        ({"0": []}, "its recipe is damaged: it cuts 8 slices of axis 0 of '0.weight', shape (8, 6)"),
    ],
)
def test_a_recipe_that_cuts_nonsense(file: Path, kept: Any, message: str) -> None:
    edit(file, lambda header, said: said["recipe"]["steps"][0]["tensors"]["0.weight"].update(kept=kept))
    assert message in refused(file, fresh())


def test_a_missing_and_a_foreign_optimizer_tensor(file: Path) -> None:
    edit(file, lambda header, said: header.update({"odd": header.pop("optimizer/0.weight/exp_avg")}))
    assert refused(file, fresh()) == "it is damaged: the tensor 'odd' belongs to nothing; save it again"
    edit(file, lambda header, said: header.update({"optimizer/0.weight/exp_avg": header.pop("odd")}))
    edit(file, lambda header, said: said["optimizer"]["state"]["0.weight"].update(more={"tensor": "optimizer/z"}))
    assert refused(file, fresh()) == "it is damaged: the tensor 'optimizer/z' is missing; save it again"


# -- another model -------------------------------------------------------------------------------------------------

FRESH = "give a fresh model, built with the arguments of the one that was saved"


def test_another_width(file: Path) -> None:
    text = "'0.weight' has shape (8, 6) before thinning in the file, (16, 6) in the model"
    assert refused(file, fresh(width=16)) == f"{text}; {FRESH}"


def test_another_number_of_classes(file: Path) -> None:
    text = "'2.weight' has shape (3, 8) before thinning in the file, (4, 8) in the model"
    assert refused(file, fresh(classes=4)) == f"{text}; {FRESH}"


def test_a_tensor_that_the_recipe_does_not_cut(tmp_path: Path) -> None:
    secateur.save(tmp_path / "x", fresh(classes=3))
    text = "'2.weight' has shape (3, 8) in the file, (4, 8) in the model"
    assert refused(tmp_path / "x", fresh(classes=4)) == f"{text}; {FRESH}"


def test_more_and_fewer_layers(file: Path) -> None:
    model = fresh()
    assert refused(file, nn.Sequential(*model, nn.Linear(3, 3))) == (
        f"'3.weight' is in the model, not in the file; {FRESH}"
    )
    assert refused(file, model[:2]) == f"'2.weight' is in the file, not in the model; {FRESH}"
    bare = nn.Sequential(*model[:2], nn.Linear(8, 3, bias=False))
    assert refused(file, bare) == f"'2.bias' is in the file, not in the model; {FRESH}"


def test_another_kind_of_numbers(tmp_path: Path) -> None:
    def model(dtype: torch.dtype) -> nn.Module:
        made = nn.Module()
        made.register_buffer("steps", torch.zeros(2, dtype=dtype))
        return made

    secateur.save(tmp_path / "x", model(torch.int64))
    text = "'steps' holds integer numbers in the file, floating ones in the model"
    assert refused(tmp_path / "x", model(torch.float32)) == f"{text}; {FRESH}"
    assert secateur.load(tmp_path / "x", model(torch.int32)).steps.dtype == torch.int32


def test_another_attribute(file: Path) -> None:
    model = fresh()
    model[0].out_features = 9
    text = "'0.out_features' was 8 before thinning in the file, it is 9 in the model"
    assert refused(file, model) == f"{text}; {FRESH}"
    del model[0].out_features

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.zeros(8, 6)), nn.Parameter(torch.zeros(8))

    model[0] = Plain()
    text = refused(file, model)
    assert text.endswith(f"' is in the file, not in the model; {FRESH}")
    assert text.startswith("'0.")


def test_thinned_by_another_recipe(file: Path) -> None:
    model = fresh()
    secateur.thin(model, secateur.plan(model, INPUT, prune=0.25))
    assert refused(file, model) == f"the model was thinned already, by another recipe than the file's; {FRESH}"


def test_ties_that_differ(tmp_path: Path) -> None:
    def pair(tie: bool) -> nn.Sequential:
        model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
        if tie:
            model[1].weight = model[0].weight
        return model

    secateur.save(tmp_path / "tied", pair(True))
    secateur.save(tmp_path / "apart", pair(False))
    assert refused(tmp_path / "tied", pair(False)) == (
        f"'1.weight' and '0.weight' are one tensor in the file, two in the model; {FRESH}"
    )
    assert refused(tmp_path / "apart", pair(True)) == (
        f"'1.weight' and '0.weight' are one tensor in the model, not in the file; {FRESH}"
    )


def test_a_model_without_values(file: Path) -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    with pytest.raises(CheckpointError, match=r"'0\.weight' of the model has no values: it is on the meta device"):
        secateur.load(file, model)


# -- the optimizer -------------------------------------------------------------------------------------------------


def test_no_optimizer_in_the_file(tmp_path: Path) -> None:
    secateur.save(tmp_path / "x", fresh())
    model = fresh()
    text = "it holds no optimizer; load it without optimizer=, or save with optimizer="
    assert refused(tmp_path / "x", model, adam(model)) == text


def test_another_optimizer(file: Path) -> None:
    model = fresh()
    text = "it holds the state of Adam, the optimizer given is SGD; give a new Adam of the model's parameters"
    assert refused(file, model, torch.optim.SGD(model.parameters(), lr=1)) == text


def test_other_groups(file: Path) -> None:
    model = fresh()
    again = "make the groups as they were when it was saved"
    some = torch.optim.Adam(list(model.parameters())[1:])
    assert refused(file, model, some) == (
        f"group 0 of the optimizer differs: '0.weight' is in the file, not given; {again}"
    )
    two = torch.optim.Adam([{"params": model[0].parameters()}, {"params": model[2].parameters()}])
    assert refused(file, model, two) == f"its optimizer has 1 parameter groups, the one given has 2; {again}"


def test_the_optimizer_of_another_model(file: Path, tmp_path: Path) -> None:
    model = fresh()
    text = (
        "the optimizer holds a parameter of shape (8, 6) that is not the model's; "
        "make the optimizer of the parameters of this very model"
    )
    assert refused(file, model, adam(fresh())) == text
    with pytest.raises(CheckpointError, match="that is not the model's"):
        secateur.save(tmp_path / "y", model, adam(fresh()))
    assert not (tmp_path / "y").exists()


# -- failures in the middle ----------------------------------------------------------------------------------------


def with_grads(model: nn.Module) -> nn.Module:
    model(*INPUT).sum().backward()
    return model


def test_a_failure_after_thinning_puts_everything_back(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_grads(fresh(seed=6))
    optimizer = adam(model)
    train(model, optimizer)

    def fail(*_: Any, **__: Any) -> None:
        assert model[0].out_features == 4
        raise RuntimeError("no memory")

    monkeypatch.setattr(model, "load_state_dict", fail)
    assert refused(file, model, optimizer) == (
        "it could not be loaded (RuntimeError: no memory); model and optimizer are as they were"
    )


def test_an_optimizer_that_fails_puts_everything_back(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_grads(fresh(seed=6))
    optimizer = adam(model)
    train(model, optimizer)
    load = optimizer.load_state_dict

    def fail(state: Any) -> None:
        load(state)
        raise RuntimeError("cannot")

    monkeypatch.setattr(optimizer, "load_state_dict", fail)
    assert refused(file, model, optimizer).startswith("it could not be loaded (RuntimeError: cannot)")


def test_an_interrupt_puts_everything_back(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_grads(fresh(seed=6))

    def interrupt(*_: Any, **__: Any) -> None:
        with torch.no_grad():
            model[2].bias.zero_()
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "load_state_dict", interrupt)
    before = state(model)
    with pytest.raises(KeyboardInterrupt):
        secateur.load(file, model)
    assert state(model) == before


# -- saving --------------------------------------------------------------------------------------------------------


def unsaved(path: Path, model: nn.Module, **arguments: Any) -> str:
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(CheckpointError) as error:
        secateur.save(path, model, **arguments)
    assert sorted(path.parent.rglob("*")) == before
    return str(error.value).removeprefix(f"{path}: ")


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    assert unsaved(tmp_path, fresh()) == "it is a folder; name a file in it"
    nowhere = tmp_path / "no" / "x"
    with pytest.raises(CheckpointError) as error:
        secateur.save(nowhere, fresh())
    assert str(error.value) == (
        f"{nowhere}: there is no folder {str(nowhere.parent)!r}; make it first, or write elsewhere"
    )


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    text = unsaved(tmp_path / ("x" * 300), fresh())
    assert text.startswith("it cannot be written (File name too long); make room")


def test_a_full_disk_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors import SafetensorError

    content = file.read_bytes()

    def full(tensors: Any, path: Path, metadata: Any) -> None:
        Path(path).write_bytes(b"half")
        raise SafetensorError("No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    text = unsaved(file, fresh())
    assert text.startswith("the tensors cannot be written (SafetensorError: No space left on device (os error 28))")
    assert file.read_bytes() == content


def test_extra_that_a_file_cannot_hold(tmp_path: Path) -> None:
    text = unsaved(tmp_path / "x", fresh(), extra={"when": object()})
    assert text == (
        "extra/when is of type object, which a checkpoint cannot hold; "
        "give dicts, lists, strings, numbers, true, false, None and tensors"
    )


def test_state_that_is_no_tensor(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def get_extra_state(self) -> dict[str, int]:
            return {"a": 1}

        def set_extra_state(self, state: dict[str, int]) -> None: ...

    model = nn.Sequential(nn.Linear(2, 2), Odd())
    assert unsaved(tmp_path / "x", model) == (
        "the model keeps '1._extra_state', a dict and no tensor, which a checkpoint cannot hold; "
        "let get_extra_state of 1 return a tensor, or remove it and use extra="
    )


def test_tensors_that_the_format_does_not_hold(tmp_path: Path) -> None:
    model = nn.Module()
    model.register_buffer("graph", torch.eye(3).to_sparse())
    assert unsaved(tmp_path / "x", model) == (
        "model/graph is a torch.sparse_coo Tensor, which a checkpoint cannot hold; make it a dense tensor"
    )


def test_lazy_and_meta_tensors(tmp_path: Path) -> None:
    assert unsaved(tmp_path / "x", nn.Linear(2, 2, device="meta")) == (
        "'weight' of the model has no values: it is on the meta device; "
        "give it memory first, with model.to_empty(device=…)"
    )
    assert unsaved(tmp_path / "x", nn.LazyLinear(2)) == (
        "'weight' of the model has no values: it is not initialised yet; run the model once first"
    )


def test_optimizer_state_of_unknown_type(tmp_path: Path) -> None:
    model = fresh()
    optimizer = adam(model)
    optimizer.state[model[0].weight] = {"rng": object()}
    assert unsaved(tmp_path / "x", model, optimizer=optimizer) == (
        "optimizer/0.weight/rng is of type object, which a checkpoint cannot hold; save without optimizer="
    )


def test_loading_is_no_thinning_event(file: Path) -> None:
    class Veto:
        @hookimpl
        def secateur_model_thinned(self, report: Any) -> None:
            raise CheckpointError("not today")

    plugins = PluginManager.discover()
    plugins.register(Veto(), "veto")
    with using(plugins):
        secateur.load(file, fresh(seed=6))


def test_a_model_that_is_wrapped(file: Path) -> None:
    wrapped = nn.DataParallel(fresh())
    with pytest.raises(CheckpointError, match=r"wrapped in DataParallel.*; give the model inside, model\.module$"):
        secateur.load(file, wrapped)
    secateur.save(file, wrapped)
    secateur.load(file, nn.DataParallel(fresh(seed=1)))


def test_a_lazy_model(file: Path) -> None:
    lazy = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3))
    with pytest.raises(CheckpointError, match=r"'0\.weight' of the model has no values.*run the model once first"):
        secateur.load(file, lazy)


def test_what_is_no_model_and_several_optimizers(file: Path) -> None:
    model = fresh()
    several: Any = [adam(model), adam(model)]
    nothing: Any = None
    for use in (secateur.save, secateur.load):
        with pytest.raises(CheckpointError, match=r"expected one torch.optim.Optimizer, got list; .* in extra="):
            use(file, model, several)
        with pytest.raises(CheckpointError, match=r"expected a torch.nn.Module, got NoneType"):
            use(file, nothing)
    secateur.load(file, fresh())


def test_a_schedule_of_another_model(tmp_path: Path) -> None:
    text = "version: 1\npruners: {half: {class: magnitude, sparsity: 0.5}}\npolicies: [{pruner: half, epochs: [0]}]\n"
    schedule = tmp_path / "schedule.yaml"
    schedule.write_text(text.replace("pruner: half", "pruner: {instance_name: half}"))
    model, other = fresh(), fresh(seed=1)
    ours, theirs = (secateur.Scheduler.from_yaml(schedule, each, adam(each), INPUT) for each in (model, other))
    secateur.save(tmp_path / "file", model, scheduler=ours)
    before = [parameter.clone() for parameter in other.parameters()]
    with pytest.raises(CheckpointError, match=r"the schedule given is bound to another model, a Sequential"):
        secateur.load(tmp_path / "file", other, scheduler=ours)
    assert all(torch.equal(*pair) for pair in zip(before, other.parameters(), strict=True))
    secateur.load(tmp_path / "file", other, scheduler=theirs)
