from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from casl.errors import StoppedError
from casl.spec import SceneData, evaluate, finetune
from tests.runner.stores import NANO
from tests.stages.ranks import carry_out, with_inputs

PROFILE = replace(NANO, data=SceneData(labeled=4, unlabeled={"tiny": 4}, val=40, size=64), iters_1x=1)


def test_an_evaluation_stops_between_two_batches_and_not_after_the_last(tmp_path: Path) -> None:
    stage = evaluate(PROFILE, finetune(PROFILE, None, schedule=1), "ap_det")
    with_inputs(stage, tmp_path)
    seen: list[int] = []
    for asked_at, ends_at in ((16, 16), (32, 32)):
        seen.clear()
        with pytest.raises(StoppedError, match=f"after {ends_at} of 40 images"):
            carry_out(
                stage,
                tmp_path,
                progress=lambda done, *_: seen.append(done),
                stopping=lambda at=asked_at: max(seen, default=0) >= at,
            )
        assert seen[-1] == ends_at
    done = carry_out(stage, tmp_path, progress=lambda done, *_: seen.append(done), stopping=lambda: max(seen) >= 40)
    assert done.facts["images"] == 40
