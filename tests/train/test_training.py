"""A tiny network trains for seconds on real photographs, and its artifacts load."""

import copy
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from clr_infer.export import validate
from PIL import Image

import clr_infer
from clr_infer.errors import InputError, WeightsError
from clr_infer.networks import Networks
from clr_infer.networks.recover import Reading
from clr_infer.networks.served import load_served
from clr_infer.train import finish
from clr_infer.train.checkpoint import load_checkpoint
from clr_infer.train.data import Photos
from clr_infer.train.fg_jpeg import FgJpegPlan, train_fg_jpeg
from clr_infer.train.finish import package, recalibrate
from clr_infer.train.forward import (
    Stage,
    _surprise,
    forward_pass,
    make_batch,
    protection_loss,
    recovery_loss,
)
from clr_infer.train.loop import Plan, Trainer, schedule
from clr_infer.train.model_card import write_model_card
from clr_infer.weights import Weights, default_folder

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory, raccoon, coffee, rocket) -> Photos:
    folder = tmp_path_factory.mktemp("photos")
    for name, image in (("raccoon", raccoon), ("coffee", coffee), ("rocket", rocket)):
        Image.fromarray(image).resize((360, 240)).save(folder / f"{name}.png")
    return Photos(folder, CPU)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(minutes=0.15, size=64, batch=4, width=16, align_width=8, psnr_start_db=22.0)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, photos, plan) -> Path:
    folder = tmp_path_factory.mktemp("run")
    Trainer(plan, photos, folder, CPU).run()
    return folder


def _log(folder: Path) -> list[dict[str, float]]:
    with (folder / "log.csv").open(newline="") as stream:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def test_the_loss_falls_and_the_average_follows(plan, photos, tmp_path):
    trainer = Trainer(plan, photos, tmp_path, CPU)
    rng, start = np.random.default_rng(0), copy.deepcopy(trainer.networks)
    losses = [float(trainer.train_step(0.0, rng)["loss"]) for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])

    def apart(one: torch.nn.Module) -> float:
        pairs = zip(trainer.networks.parameters(), one.parameters(), strict=True)
        return sum(float((a - b).detach().abs().sum()) for a, b in pairs)

    assert 0 < apart(trainer.average) < 0.5 * apart(start)


def test_the_uncertainty_learns_the_error_and_changes_nothing_else():
    torch.manual_seed(0)
    error = torch.randn(4, 3, 64, 64) * torch.linspace(0.02, 0.3, 16).repeat_interleave(4)
    mask = torch.zeros(4, 1, 64, 64)
    mask[..., :32, :] = 1  # where nothing is asked
    said = torch.full((4, 1, 16, 16), 0.1, requires_grad=True)
    recovered = torch.zeros(4, 3, 64, 64, requires_grad=True)
    for _ in range(60):
        reading = Reading(recovered, torch.zeros(4, 3, 16, 16), said.abs())
        _, numbers = recovery_loss(reading, error, mask)
        surprise = _surprise(said.abs(), recovered - error, 1.0 - mask)
        assert float(numbers["surprise"]) == pytest.approx(float(surprise.detach()))
        down, untouched = torch.autograd.grad(surprise, (said, recovered), allow_unused=True)
        assert untouched is None and not down[..., :8, :].any()
        said = (said - 2.0 * said.detach().square() * down * 64).detach().requires_grad_()
    truth = torch.linspace(0.02, 0.3, 16)
    torch.testing.assert_close(said[:, 0, 8:].abs().mean((0, 1)), truth, rtol=0.15, atol=0.0)


def test_pictures_come_from_photographs_that_lie_alike(tmp_path):
    """Wide ones are dark and tall ones light here; where there is one kind, it serves for both."""
    shades = {(300, 200): 60, (200, 300): 190}
    for (width, height), shade in shades.items():
        Image.new("RGB", (width, height), (shade,) * 3).save(tmp_path / f"{shade}.png")
    both, rng = Photos(tmp_path, CPU), np.random.default_rng(0)
    drawn = [both.draw(rng, 96, 3) for _ in range(20)]
    assert {shape[2] > shape[3] for shape in (one.shape for one in drawn)} == {True, False}
    for one in drawn:
        shade = shades[200, 300] if one.shape[2] > one.shape[3] else shades[300, 200]
        if one.shape[2] != one.shape[3]:
            torch.testing.assert_close(one, torch.full_like(one, shade / 255))
    (tmp_path / "190.png").unlink()
    wide = Photos(tmp_path, CPU)
    for _ in range(20):
        one = wide.draw(rng, 96, 3)
        torch.testing.assert_close(one, torch.full_like(one, 60 / 255))


@pytest.mark.parametrize(("size", "axis"), [((200, 64), 2), ((64, 200), 3)])
def test_small_photographs_are_joined_where_they_would_be_enlarged(tmp_path, size, axis):
    """One above the other where they are too low, side by side where they are too narrow."""
    for shade in (60, 190):
        Image.new("RGB", size, (shade,) * 3).save(tmp_path / f"{shade}.png")
    photos, rng = Photos(tmp_path, CPU), np.random.default_rng(0)
    drawn = [photos.draw(rng, 96).mul(255).round() for _ in range(200)]
    two = [one for one in drawn if len(one.unique()) == 2]
    assert 0.15 < len(two) / len(drawn) < 0.35  # half of them, and half of those with themselves
    for one in two:
        first, last = one.movedim(axis, 0)[[0, -1]]
        assert len(first.unique()) == len(last.unique()) == 1 and first.max() != last.max()
    assert all(96 <= side <= 154 for one in drawn for side in one.shape[2:])
    assert not any(len(photos.draw(rng, 32).mul(255).round().unique()) == 2 for _ in range(50))


def test_what_protection_costs_grows_with_what_is_seen_and_what_hides_the_template(photos):
    networks, rng = Networks(128, 16, 8), np.random.default_rng(0)
    original = photos.draw(rng, 128, 2)[..., :128, :128].contiguous()
    protect, box = networks.protect, torch.tensor([[0.0, 0.0, 1.0, 1.0]] * 2)
    sync = protect.shape(torch.zeros_like(protect.payload(original)), original, 36.0)
    noise = torch.from_numpy(rng.normal(0.0, 0.02, sync.shape).astype(np.float32))
    seen, blind = {}, {}
    for name, residual in {"none": 0.0 * sync, "template": sync, "both": sync + noise}.items():
        given = (networks.localize, residual, original, original + residual, box)
        seen[name] = protection_loss(*given, 1.0)[1]
        blind[name] = float(protection_loss(*given, 0.0)[0])
    lost, odds = ({k: float(v[n]) for k, v in seen.items()} for n in ("ssim_lost", "log_odds"))
    assert lost["none"] == 0.0 < lost["template"] < lost["both"]
    assert odds["none"] < odds["both"] < odds["template"]
    assert blind["none"] > blind["both"] > blind["template"]


def test_the_localize_network_is_none_of_the_state_of_training(run_folder):
    state = load_checkpoint(run_folder / "checkpoint.pt", CPU)
    assert {name.split(".")[0] for name in state["average"]} == {"protect", "align", "recover"}


def test_training_leaves_checkpoint_log_and_pictures(run_folder):
    assert (run_folder / "checkpoint.pt").stat().st_size > 0
    for name in ("curves.png", "sheet.png"):
        with Image.open(run_folder / name) as picture:
            assert min(picture.size) > 200
    assert not list(run_folder.glob(".*"))


def test_training_resumes_where_it_stopped(plan, photos, tmp_path):
    first = Trainer(plan, photos, tmp_path, CPU)
    first.run(minutes=0.04)
    assert 0 < first.seconds < plan.minutes * 60
    again = Trainer(plan, photos, tmp_path, CPU)
    assert (again.step, again.seconds) == (first.step, first.seconds)
    for a, b in zip(first.networks.parameters(), again.networks.parameters(), strict=True):
        assert torch.equal(a, b)
    again.run()
    assert again.step > first.step and again.seconds >= plan.minutes * 60
    before = again.step
    Trainer(plan, photos, tmp_path, CPU).run()  # nothing is left to do
    assert load_checkpoint(tmp_path / "checkpoint.pt", CPU)["step"] == before


def test_fine_tuning_starts_from_weights_at_full_strength(run_folder, plan, photos, tmp_path):
    tuned = Trainer(plan.fine_tuning(), photos, tmp_path, CPU, run_folder / "checkpoint.pt")
    old = load_checkpoint(run_folder / "checkpoint.pt", CPU)
    assert tuned.step == 0 and tuned.total_steps == old["total_steps"]
    assert [run["steps"] for run in tuned.earlier] == [old["step"]]
    weight = "recover.head.weight"
    assert torch.equal(tuned.networks.state_dict()[weight], old["average"][weight])
    assert schedule(tuned.plan, 0.0)[0].psnr_db == plan.psnr_db


def test_training_starts_from_a_folder_of_weights(photos, tmp_path):
    """Averaged weights seed the networks and their average; other widths are refused."""
    facts = Weights().manifest
    widths = {name: facts[name] for name in ("width", "align_width", "seed")}
    plan = Plan(minutes=1, size=64, batch=2, **widths)
    trainer = Trainer(plan, photos, tmp_path / "own", CPU, default_folder())
    served = load_served(Weights())
    for networks in (trainer.networks, trainer.average):
        for name in ("protect", "align", "recover"):
            ours = getattr(networks, name).state_dict()
            assert all(torch.equal(ours[k], v) for k, v in served[name].state_dict().items())
    assert trainer.total_steps == facts["steps"] and trainer.earlier == facts["training"]
    assert float(trainer.train_step(0.0, np.random.default_rng(0))["out_db"]) > 15
    with pytest.raises(WeightsError, match="other widths"):
        Trainer(replace(plan, width=16), photos, tmp_path / "other", CPU, default_folder())
    with pytest.raises(WeightsError, match="manifest"):
        Trainer(plan, photos, tmp_path / "none", CPU, tmp_path)


@pytest.mark.parametrize("alignment", [0.1, 0.0])
def test_groups_are_a_matter_of_speed(photos, alignment):
    """A batch in groups has the shapes, the range of losses and the gradients of one without."""
    networks = Networks(64, 16, 8)
    stage = Stage(36.0, 1.0, alignment)
    for group in (1, 3, 8):
        networks.zero_grad()
        rng = np.random.default_rng(1)
        batch = make_batch(networks, photos, 7, stage, rng, group)
        assert batch.original.shape == batch.views.received.shape == (7, 3, 64, 64)
        assert batch.views.crop_box.shape == (7, 4)
        assert (batch.views.clean is None) == (batch.views.simulated is None) == (not alignment)
        loss, numbers = forward_pass(networks, photos, 7, stage, rng, group)
        assert ("align" in numbers) == bool(alignment)
        assert not any(value.requires_grad for value in numbers.values())
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in networks.parameters())


def test_a_gradient_that_overflowed_leaves_the_weights_sound(photos, plan, tmp_path):
    trainer = Trainer(plan, photos, tmp_path, CPU)
    first = next(trainer.networks.parameters())
    handle = first.register_hook(lambda gradient: gradient * float("inf"))
    trainer.train_step(0.5, np.random.default_rng(0))
    handle.remove()
    trainer.train_step(0.5, np.random.default_rng(1))
    for networks in (trainer.networks, trainer.average):
        assert all(p.isfinite().all() for p in networks.parameters())


def test_the_optimizer_can_be_left_out_of_a_checkpoint(photos, plan, tmp_path):
    trainer = Trainer(plan, photos, tmp_path, CPU)
    for seed in range(3):
        trainer.train_step(0.5, np.random.default_rng(seed))
    trainer.save()
    whole = (tmp_path / "checkpoint.pt").stat().st_size
    again = Trainer(plan, photos, tmp_path, CPU)
    moments = zip(trainer.optimizer.state.values(), again.optimizer.state.values(), strict=True)
    for ours, theirs in moments:
        assert theirs["exp_avg"].dtype == torch.float32
        assert torch.allclose(ours["exp_avg"], theirs["exp_avg"], rtol=2**-7)
    trainer.save(with_optimizer=False)
    assert (tmp_path / "checkpoint.pt").stat().st_size < 0.75 * whole
    bare = Trainer(plan, photos, tmp_path, CPU)
    assert bare.step == 3 and not bare.optimizer.state
    bare.train_step(0.5, np.random.default_rng(0))


def test_the_curriculum_goes_from_loud_and_clean_to_quiet_and_attacked(plan):
    start, half, end = (schedule(plan, p)[0] for p in (0.0, 0.25, 1.0))
    assert (start.psnr_db, start.hardness) == (plan.psnr_start_db, 0.0)
    assert start.psnr_db < half.psnr_db < end.psnr_db == plan.psnr_db
    assert end.hardness == 1.0
    assert schedule(plan, 0.0)[1] == 1.0 and schedule(plan, 1.0)[1] < 0.05


def test_weights_are_packaged_and_run_in_both_runtimes(
    run_folder, photos, coffee, tmp_path_factory
):
    jpeg = train_fg_jpeg(FgJpegPlan(minutes=0.05, batch=2), photos, run_folder, CPU)
    folder = tmp_path_factory.mktemp("weights") / "out"
    manifest = package(run_folder / "checkpoint.pt", jpeg, 128, photos, folder, "test pictures")
    write_model_card(folder, "(not measured)")
    assert "test pictures" in (folder / "MODEL_CARD.md").read_text()
    assert manifest["calibration"]["true_positive_rate"] <= 1
    again = recalibrate(Weights(folder), photos, folder)
    assert again == manifest  # the same photographs and crops, the same calibration
    results = []
    for runtime in ("onnxruntime", "torch"):
        session = clr_infer.load(runtime, weights=folder)
        protected = session.protect(coffee)
        assert 37.5 < protected.psnr_db < 42
        results.append((protected.image, session.locate(protected.image)))
    difference = np.abs(results[0][0].astype(int) - results[1][0])
    assert difference.max() <= 1 and difference.mean() < 0.01
    assert results[0][1].confidence == pytest.approx(results[1][1].confidence, abs=1e-2)


def test_weights_can_be_calibrated_for_another_frame(photos, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(finish, "write_weights", lambda folder, *what: written.append(what))
    manifest = recalibrate(Weights(), photos, tmp_path, 160)
    networks, facts, frames, _ = written[0]
    assert manifest["size"] == facts["size"] == networks["protect"].size == 160
    assert frames.shape[1:] == (3, 160, 160)
    shipped = Weights().manifest
    assert facts["steps"] == shipped["steps"] and facts["calibration"] != shipped["calibration"]


@pytest.mark.parametrize(("count", "warned"), [(1, True), (24, True), (25, False)])
def test_few_photographs_to_calibrate_on_are_warned_of(
    photos, tmp_path, monkeypatch, caplog, count, warned
):
    scores = np.linspace(0, 20, 4 * count)
    monkeypatch.setattr(finish, "_scores", lambda *_: (scores + 20, scores))
    monkeypatch.setattr(finish, "write_weights", lambda *_: None)
    many = copy.copy(photos)
    many.images = (photos.images * count)[:count]
    recalibrate(Weights(), many, tmp_path, 128)
    assert ("25 or more are asked for" in caplog.text) == warned
    assert (f"few photographs to calibrate on ({count})" in caplog.text) == warned


def test_an_int8_twin_that_is_not_its_network_is_left_out(photos, tmp_path, monkeypatch, caplog):
    """Training that took hours is not lost to it."""
    limits = dict(validate.TOLERANCES)
    monkeypatch.setattr(validate, "TOLERANCES", limits)
    limits["protect", "residual"] = limits["protect", "residual"] | {"int8": (1e-9, 1e-9)}
    recalibrate(Weights(), photos, tmp_path, 128)
    written = Weights(tmp_path)
    twins = {name for name in written.manifest["files"] if name.startswith("int8/")}
    assert twins == {"int8/align.onnx", "int8/recover.onnx"}
    assert "int8/protect" not in written.manifest["validation"]
    assert "no int8 twin of protect: protect.residual in int8 differs" in caplog.text
    assert written.graph_name("protect", int8=True) == "protect.onnx"
    assert written.graph_name("recover", int8=True) == "int8/recover.onnx"


def test_a_damaged_checkpoint_is_refused(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match="checkpoint"):
        load_checkpoint(tmp_path / "checkpoint.pt", CPU)


@pytest.mark.gpu
def test_a_step_on_a_gpu_never_waits_and_is_that_on_the_cpu(photos, gpu, tmp_path):
    """Losses of the same step agree, and the host only queues: whatever waits is an error."""
    plan = Plan(minutes=1, size=64, batch=6, group=3, width=16, align_width=8)
    losses, seeds = [], (1, 2, 3)
    for device in (CPU, gpu):
        on_device = copy.copy(photos)
        on_device.images = [image.to(device) for image in photos.images]
        trainer = Trainer(plan, on_device, tmp_path / f"{len(losses)}", device)
        for seed in seeds:  # what they need is compiled, and copied to the device
            trainer.train_step(0.3, np.random.default_rng(seed))
        trainer.save()
        trainer = Trainer(plan, on_device, trainer.folder, device)  # a resumed run is no other
        assert all(state["step"].device == CPU for state in trainer.optimizer.state.values())
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("error")
        try:
            found = [trainer.train_step(0.3, np.random.default_rng(seed)) for seed in seeds]
        finally:
            if device.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")
        losses.append([float(numbers["loss"]) for numbers in found])
    np.testing.assert_allclose(*losses, rtol=0.05)  # noise differs between devices


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="no photograph"):
        Photos(tmp_path, CPU)
