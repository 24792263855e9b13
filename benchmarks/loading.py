"""Reading, decoding, augmenting and collating training images, beside torchvision's own pipeline and a bare model step.

Run:    .venv/bin/python benchmarks/loading.py [--images 32] [--rounds 5] [--size 800]
Peers:  torchvision's CocoDetection with its v2 transforms (RandomShortestSize, RandomHorizontalFlip), which come with
        casl: the same JPEG files of 640 x 480, the same boxes, labels and masks, the same sizes.
Shows:  our time over torchvision's for one thread; how much two threads of a training's loaders gain; and how many
        cores keep a device busy that trains so many images a second.
"""

from __future__ import annotations

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import arguments, ratio, report, spread, taking_turns, versions
from PIL import Image
from torchvision import datasets, tv_tensors
from torchvision.transforms import v2

from casl.data.coco import CocoSplit, load_split
from casl.data.layout import find_splits
from casl.spec import Recipe
from casl.stages import feed as stage_feed
from casl.stages.feed import Feed
from casl.stages.sources import ImageCache

WIDTH, HEIGHT, OBJECTS = 640, 480, 7


def main() -> None:
    options = arguments(__doc__, images=32, rounds=5, size=800)
    chosen = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        split = _photos(Path(folder), chosen.images)
        recipe = Recipe(lr=1.0, batch=chosen.images, sizes=(chosen.size,), max_size=1333)
        feed = Feed(split, recipe, 0, ("masks",))
        peer, kept = _torchvision(Path(folder), chosen.size), ImageCache()
        _same(feed, peer)

        def ours() -> None:
            vars(stage_feed)["IMAGES"] = ImageCache(0)  # a set larger than memory: every image is decoded each time
            feed(0)

        def cached() -> None:
            vars(stage_feed)["IMAGES"] = kept
            feed(0)

        def theirs() -> None:
            for i in range(len(split)):
                peer[i]

        def threads() -> None:
            vars(stage_feed)["IMAGES"] = ImageCache(0)
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(feed.sample, range(len(split))))

        sides = {"casl": ours, "torchvision": theirs, "two threads": threads, "cached": cached}
        turns = taking_turns(sides, chosen.rounds)
    rate = len(split) / min(turns.own["casl"])
    lines = [
        f"one thread, by the wall: ours takes {spread(turns.wall, 'casl', 'torchvision')} of torchvision's",
        f"one thread, processor time: {spread(turns.own, 'casl', 'torchvision')}",
        f"two threads over one, by the wall: {spread(turns.wall, 'two threads', 'casl')}",
        f"images still in memory from an earlier epoch: {spread(turns.own, 'cached', 'casl')} of ours without",
        f"{rate:.1f} images a second of a core; a device that trains N images a second needs N / {rate:.1f} cores",
    ]
    figures = {**vars(turns), "images_a_core_second": rate, "ratio": ratio(turns.own, "casl", "torchvision")}
    facts: dict[str, Any] = {**versions("casl", "torch", "torchvision", "pillow")}
    facts |= {"images": chosen.images, "short_side": chosen.size, "objects": OBJECTS}
    report("data loading: JPEG to tensors with masks", facts, lines, figures, chosen.json)


def _photos(folder: Path, count: int) -> CocoSplit:
    """JPEG files with the texture of photos, and objects with polygons."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    (folder / "annotations").mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        coarse = rng.integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / "images" / f"{number}.jpg", quality=90)
        images.append({"id": number, "file_name": f"{number}.jpg", "width": WIDTH, "height": HEIGHT})
        annotations += [_object(len(annotations) + n, number, rng) for n in range(1, OBJECTS + 1)]
    truth = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    for split in ("labeled", "val"):
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(truth))
    plain = {"images": images, "annotations": [], "categories": []}
    (folder / "annotations" / "unlabeled.json").write_text(json.dumps(plain))
    return load_split(find_splits(folder)["labeled"])


def _object(number: int, image: int, rng: np.random.Generator) -> dict[str, Any]:
    """A polygon of 24 corners around a box."""
    width, height = rng.uniform(20, 300, 2)
    x, y = rng.uniform(0, WIDTH - width), rng.uniform(0, HEIGHT - height)
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    corners = np.stack([x + width * (1 + np.cos(angle)) / 2, y + height * (1 + np.sin(angle)) / 2], axis=1)
    box = [x, y, width, height]
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "bbox": [float(v) for v in box],
        "area": float(width * height * np.pi / 4),
        "iscrowd": 0,
        "segmentation": [[float(v) for v in corners.flatten()]],
    }


def _torchvision(folder: Path, size: int) -> Any:
    transforms = v2.Compose(
        [
            v2.PILToTensor(),
            v2.RandomShortestSize([size], max_size=1333, antialias=True),
            v2.RandomHorizontalFlip(0.5),
        ]
    )
    wrapped = datasets.CocoDetection(
        str(folder / "images"), str(folder / "annotations" / "instances_labeled.json"), transforms=transforms
    )
    return datasets.wrap_dataset_for_transforms_v2(wrapped, target_keys={"boxes", "labels", "masks"})


def _same(feed: Feed, peer: Any) -> None:
    """Both sides do the same work: images and masks of one size, as many objects."""
    sample = feed.sample(0)
    image, target = peer[0]
    assert isinstance(target["masks"], tv_tensors.Mask)
    shapes = zip(sample.image.shape[:2], image.shape[1:], strict=True)
    if any(abs(a - b) > 1 for a, b in shapes) or len(sample.boxes) != len(target["boxes"]):
        raise SystemExit(f"sides differ: {sample.image.shape} and {tuple(image.shape)}")


if __name__ == "__main__":
    main()
