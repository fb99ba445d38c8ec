"""The classes have the names that the data sets define, in the order of the classifiers' outputs."""

from __future__ import annotations

import pytest

from extremal_jax.models.classes import DATASETS, class_names

KNOWN = {
    "imagenet": {0: "tench", 1: "goldfish", 207: "golden retriever", 281: "tabby", 388: "giant panda", 954: "banana", 999: "toilet tissue"},
    "voc": {0: "aeroplane", 6: "car", 7: "cat", 11: "dog", 14: "person", 19: "tvmonitor"},
    "coco": {0: "person", 1: "bicycle", 2: "car", 15: "cat", 16: "dog", 79: "toothbrush"},
}


@pytest.mark.parametrize(("dataset", "count"), [("imagenet", 1000), ("voc", 20), ("coco", 80)])
def test_every_class_has_its_own_name_in_its_place(dataset: str, count: int) -> None:
    names = class_names(dataset)
    assert len(names) == len(set(names)) == count
    assert all(name == name.strip() and name for name in names)
    assert {index: names[index] for index in KNOWN[dataset]} == KNOWN[dataset]


def test_voc_is_in_alphabetical_order() -> None:
    assert list(class_names("voc")) == sorted(class_names("voc"))


def test_names_are_read_once() -> None:
    assert all(class_names(dataset) is class_names(dataset) for dataset in DATASETS)


def test_an_unknown_dataset() -> None:
    with pytest.raises(ValueError, match=r"dataset must be one of 'imagenet', 'voc', 'coco', got 'imagenett'; did you mean 'imagenet'\?"):
        class_names("imagenett")
