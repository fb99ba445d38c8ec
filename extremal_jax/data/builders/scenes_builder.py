"""The builder of generated scenes."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from extremal_jax.data.prepared import tensorflow_datasets
from extremal_jax.data.scene_examples import SEED, SceneDataset
from extremal_jax.data.scenes import CLASSES, whole_pair


def scenes(
    count: int,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    seed: int = SEED,
    size: Any = 128,
    objects: Any = (1, 3),
) -> Any:
    """A builder of TensorFlow Datasets for generated scenes: the dataset `extremal_scenes`, with the split "test".

    Its features are `image`, `image/filename`, `labels` and `segmentation`, an image of class indices, where 0 is the
    background. The name of its configuration holds the arguments.

    Args:
      count, seed, size, objects: as in `SceneDataset`.
      data_dir: the folder to prepare it in; None: the default of TensorFlow Datasets.

    Returns:
      A `tfds.core.GeneratorBasedBuilder`: call its `download_and_prepare()`, then its `as_data_source("test")`, or give
      its name to `PreparedDataset`.

    Raises:
      ImportError: if tensorflow_datasets is not installed.
      ValueError: if a number is out of range.

    Example:
      >>> builder = scenes(500, data_dir="prepared")  # doctest: +SKIP
      >>> builder.download_and_prepare()  # doctest: +SKIP
      >>> builder.info.full_name  # doctest: +SKIP
      'extremal_scenes/count500_seed4000_128x128_objects1-3/1.0.0'
    """
    tfds = tensorflow_datasets()
    base: Any = tfds.core.GeneratorBasedBuilder
    dataset = SceneDataset(count, seed=seed, size=size, objects=objects)
    height, width = whole_pair("size", size, "(height, width)")
    least, most = whole_pair("objects", objects, "(least, most)")

    class Scenes(base, skip_registration=True):  # type: ignore[misc, call-arg]
        """Generated scenes: emoji objects on coloured noise, with exact masks."""

        name = "extremal_scenes"
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> Any:
            features = {
                "image": tfds.features.Image(shape=(height, width, 3), encoding_format="png"),
                "image/filename": tfds.features.Text(),
                "labels": tfds.features.Sequence(tfds.features.ClassLabel(names=CLASSES)),
                "segmentation": tfds.features.LabeledImage(
                    shape=(height, width, 1), labels=["background", *CLASSES], encoding_format="png"
                ),
            }
            return tfds.core.DatasetInfo(
                builder=self, description=self.__doc__, features=tfds.features.FeaturesDict(features), disable_shuffling=True
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {"test": self._generate_examples()}

        def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
            for index, example in enumerate(dataset):
                segmentation = np.zeros((height, width), np.uint8)
                for thing in example.objects:
                    segmentation[thing.mask] = thing.label + 1
                yield (
                    index,
                    {
                        "image": _png(example.load()),
                        "image/filename": example.name,
                        "labels": list(example.labels),
                        "segmentation": _png(segmentation),
                    },
                )

    config = f"count{count}_seed{seed}_{height}x{width}_objects{least}-{most}"
    return Scenes(
        data_dir=None if data_dir is None else os.fspath(data_dir),
        config=tfds.core.BuilderConfig(name=config, version=Scenes.VERSION, description=f"{count} scenes of seed {seed}."),
        file_format="array_record",
    )


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
