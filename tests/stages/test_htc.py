"""HTC from splits to figures: from a warmup, stopped and gone on, and seen in several views."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from casl.data.augment import resize
from casl.errors import StoppedError
from casl.models.views import merged
from casl.spec import Applied, Finetune, SceneData, evaluate, finetune, warmup_on_truth
from casl.spec.run import CURVES, WEIGHTS
from casl.stages.detectors import TestSettings, build_detector, predict_split
from casl.stages.feed import image_tensor
from casl.stages.finetune import run
from casl.stages.sources import IMAGES, open_split
from casl.stages.training import STATE
from casl.train.checkpoint import load_weights
from tests.runner.stores import NANO
from tests.stages.ranks import carry_out, context, with_inputs

PROFILE = replace(
    NANO,
    data=SceneData(labeled=4, unlabeled={"tiny": 4}, val=2, size=64),
    light=True,
    shape=replace(NANO.shape, channels=32),
    # at the others' rate four steps make it so sure of background that nothing is found
    finetune_recipe=replace(NANO.finetune_recipe, lr=1e-4),
)
PLUS = Applied(suppression="gaussian", least=0.001, scales=(0.75, 1.0), flip=True)


def made(detector: str = "htc") -> Finetune:
    """From a warmup, at one rate, so that longer trainings may continue from its end."""
    warm = warmup_on_truth(PROFILE, schedule=1)
    return replace(finetune(PROFILE, warm, detector=detector), schedule=((4, 1.0),))


STAGE = made()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data, the warmup, and a whole training without a stop."""
    root = tmp_path_factory.mktemp("htc")
    with_inputs(STAGE, root)
    run(STAGE, context(STAGE, root, root / STAGE.name))
    return root


@pytest.mark.parametrize("stop", [1, 3])
def test_stopped_and_gone_on_is_straight_through(root: Path, tmp_path: Path, stop: int) -> None:
    answers = iter([*[False] * stop, True])
    with pytest.raises(StoppedError, match=f"iteration {stop}/4"):
        run(STAGE, context(STAGE, root, tmp_path, stopping=lambda: next(answers)))
    torch.manual_seed(77)  # as another process would have left it
    run(STAGE, context(STAGE, root, tmp_path, loaders=stop % 2))
    for name in (WEIGHTS, STATE):
        one, other = load_weights(tmp_path / name), load_weights(root / STAGE.name / name)
        assert one.keys() == other.keys()
        assert [key for key, value in one.items() if not torch.equal(value, other[key])] == []
    assert (tmp_path / CURVES).read_bytes() == (root / STAGE.name / CURVES).read_bytes()


def test_backbone_and_neck_of_the_warmup_start_it(root: Path, tmp_path: Path) -> None:
    """One step at a rate of next to nothing leaves what it began with."""
    still = replace(STAGE, schedule=((1, 1.0),), recipe=replace(STAGE.recipe, lr=1e-9, weight_decay=0.0))
    run(still, context(still, root, tmp_path))
    assert STAGE.init is not None
    begun, warm = load_weights(tmp_path / WEIGHTS), load_weights(root / STAGE.init.name / WEIGHTS)
    for key in ("backbone.body.layer3.0.conv2.weight", "fpn.lateral3.weight", "fpn.output5.weight"):
        torch.testing.assert_close(begun[key], warm[key], atol=1e-6, rtol=0)


@pytest.mark.parametrize("metric", ["ap_det", "ap_seg"])
def test_boxes_and_masks_are_judged_after_soft_nms_over_several_views(root: Path, metric: str) -> None:
    stage = evaluate(PROFILE, STAGE, metric, applied=PLUS)
    with_inputs(stage, root)
    outcome = carry_out(stage, root)
    assert 0.0 <= outcome.metrics["AP"] <= 100.0
    assert outcome.facts["predictions"] > 0


def test_views_are_predicted_at_their_sizes_mirrored_and_put_together(root: Path) -> None:
    """Against predictions asked for one by one."""
    stage = evaluate(PROFILE, STAGE, "ap_det", applied=PLUS)
    with_inputs(stage, root)
    ctx = context(stage, root, root / "views")
    split = open_split(stage.data, "objects", ctx)
    detector: Any = build_detector(STAGE.model, ctx, pretrained=False)
    detector.load_state_dict(load_weights(root / STAGE.name / WEIGHTS))
    settings = TestSettings(64, 96, detections=20, applied=PLUS, masks=False)
    found = list(predict_split(detector, split, settings, "cpu", lambda *_: None))
    inference = replace(
        detector.settings.inference,
        score_threshold=0.001,
        suppression="gaussian",
        max_detections=20,
        masks=False,
    )
    image = IMAGES.read(split.path(0))
    views = []
    for short, long in ((48, 72), (64, 96)):
        pixels = image_tensor(resize(image, short, long)[0])
        for turned in (False, True):
            shown = torch.flip(pixels, [2]) if turned else pixels
            (seen,) = detector.predict([shown], [image.shape[:2]], replace(inference, decayed=False))
            if turned:
                left, top, right, bottom = seen["boxes"].unbind(1)
                seen = seen | {"boxes": torch.stack([image.shape[1] - right, top, image.shape[1] - left, bottom], 1)}
            views.append(seen)
    expected = merged(views, inference)
    assert len(found) == len(split) and len(expected["scores"]) == 20
    for key in ("boxes", "scores", "labels"):
        torch.testing.assert_close(found[0][key], expected[key], atol=1e-3, rtol=1e-4)
