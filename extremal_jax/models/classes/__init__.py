"""The names of the classes of published classifiers, in the order of their outputs.

- `imagenet.txt`: ILSVRC 2012, in the order of its WordNet identifiers, with the short English names that torchvision 0.29 lists
  (`torchvision.models`, copyright Soumith Chintala 2016, BSD 3-Clause: see NOTICE).
- `voc.txt`: PASCAL VOC 2007 and 2012 (Everingham et al., "The PASCAL Visual Object Classes Challenge"), in alphabetical order.
- `coco.txt`: MS COCO 2014 and 2017 (Lin et al., "Microsoft COCO: Common Objects in Context"), the 80 kinds of objects in the order of
  their numbers.
"""

from __future__ import annotations

import functools
import importlib.resources

from extremal_jax.ground.checks import check_choice

DATASETS = ("imagenet", "voc", "coco")


@functools.cache
def class_names(dataset: str) -> tuple[str, ...]:
    """The names of a dataset's classes: "imagenet" (1,000 classes), "voc" (20) or "coco" (80).

    Example:
      >>> class_names("voc")[:3]
      ('aeroplane', 'bicycle', 'bird')
    """
    check_choice("dataset", dataset, DATASETS)
    return tuple((importlib.resources.files(__package__) / f"{dataset}.txt").read_text("utf-8").splitlines())
