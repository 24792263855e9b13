"""What the loop asks of a learner, and modules that never train."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from casl.errors import StageError
from casl.train.checkpoint import Checkpoints, Curves, load_weights
from casl.train.learner import WATCHED, Batch, Held, Plain, Targets, check_divisible
from casl.train.loop import Steps, train
from casl.train.optimizer import sgd
from tests.models.frameworks.cases import small as framework
from tests.train.test_divided import fcos


class Watched:
    """Learns a number; writes down what is called, and with which weight."""

    divisible = False

    def __init__(self) -> None:
        self.module = nn.Linear(1, 1, bias=False)
        self.module.weight.data.fill_(4.0)
        self.kept = self.module
        self.calls: list[tuple[str, float]] = []

    def losses(self, images: list[Tensor], targets: Targets) -> dict[str, Tensor]:
        self.calls.append(("losses", self.module.weight.item()))
        assert [int(t["view"]) for t in targets] == [0]
        return {"loss_a": self.module.weight.sum()}

    def after_step(self, iteration: int) -> None:
        self.calls.append((f"after {iteration}", self.module.weight.item()))


def batch_at(iteration: int) -> Batch:
    return [torch.zeros(3, 2, 2)], [{"view": torch.tensor(0)}]


@pytest.mark.parametrize("lag", [0, 2])
def test_after_step_is_called_once_an_iteration_between_the_step_and_the_next_losses(tmp_path: Path, lag: int) -> None:
    learner = Watched()
    steps = Steps(batch_at, lambda i: 1.0, 2, 4, seed=0, device=torch.device("cpu"), lag=lag)
    optimizer = torch.optim.SGD(learner.module.parameters(), lr=1.0)
    train(learner, optimizer, steps, Curves(), Checkpoints(tmp_path), lambda done, total, figures: None)
    assert learner.calls == [("losses", 4.0), ("after 2", 3.0), ("losses", 3.0), ("after 3", 2.0)]


def test_what_is_watched_is_in_the_curves_and_has_no_gradient_of_its_own(tmp_path: Path) -> None:
    class Watching(Watched):
        def losses(self, images: list[Tensor], targets: Targets) -> dict[str, Tensor]:
            weight = self.module.weight.sum()
            return super().losses(images, targets) | {f"{WATCHED}b": 10 * weight}

    learner, curves = Watching(), Curves()
    steps = Steps(batch_at, lambda i: 1.0, 0, 1, seed=0, device=torch.device("cpu"))
    optimizer = torch.optim.SGD(learner.module.parameters(), lr=1.0)
    train(learner, optimizer, steps, curves, Checkpoints(tmp_path), lambda done, total, figures: None)
    assert curves.names == ("loss", "loss_a", "watched_b", "lr") and curves.rows == [[0.0, 4.0, 4.0, 40.0, 1.0]]
    assert learner.module.weight.item() == 3.0


def test_a_checkpoint_holds_what_after_step_did(tmp_path: Path) -> None:
    class Counting(Watched):
        def after_step(self, iteration: int) -> None:
            self.module.weight.data.fill_(100.0 + iteration)

    learner = Counting()
    steps = Steps(batch_at, lambda i: 1.0, 0, 3, seed=0, device=torch.device("cpu"), checkpoint_s=0.0)
    optimizer = torch.optim.SGD(learner.module.parameters(), lr=1.0)
    train(learner, optimizer, steps, Curves(), Checkpoints(tmp_path), lambda done, total, figures: None)
    saved = [load_weights(path)["model/weight"].item() for path in sorted(tmp_path.glob("*.safetensors"))]
    assert saved == [100.0, 101.0]


def test_what_is_held_has_no_gradients_and_no_training_mode_and_is_saved() -> None:
    inner = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
    whole = nn.ModuleDict({"student": nn.BatchNorm2d(4), "teacher": Held(inner)}).train()
    assert whole["student"].training and not any(m.training for m in whole["teacher"].modules())
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    inner(torch.rand(2, 3, 4, 4))
    assert all(torch.equal(value, before[name]) for name, value in whole.state_dict().items())
    assert "teacher.module.1.running_mean" in before
    stepped = {id(p) for group in sgd(whole, 0.1, 0.0).param_groups for p in group["params"]}
    assert stepped == {id(p) for p in whole["student"].parameters()}


def test_a_detector_is_divisible_if_it_can_share_a_batch() -> None:
    assert Plain(fcos()).divisible and not Plain(framework("faster_rcnn")).divisible
    check_divisible(Plain(fcos()), 4)
    check_divisible(Plain(framework("faster_rcnn")), 1)
    with pytest.raises(StageError, match=r"4 processes: FasterRCNN is not divisible.*\n.*--gpus-per-stage 1"):
        check_divisible(Plain(framework("faster_rcnn")), 4)


def test_the_weights_and_keys_of_a_plain_learner_are_the_detectors() -> None:
    detector = fcos()
    learner = Plain(detector)
    assert learner.module is detector and learner.kept is detector
