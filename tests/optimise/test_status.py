"""The status: what is ok, and how faults are put into words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from extremal_jax.inversion.result import InversionStatus
from extremal_jax.optimise.status import Status

NEVER, NO = np.full((2, 2), -1, np.int32), np.zeros((2, 2), bool)
FIRST_OF_SECOND = np.array([[False, False], [True, False]])


def test_a_healthy_run() -> None:
    for status in (Status(NEVER), Status(NEVER, NO, NO, NO)):
        assert status.ok
        assert status.message == str(status) == "finished"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "nonfinite_step",
            np.where(FIRST_OF_SECOND, 7, -1),
            "the reward or its gradient was not finite at step 7; the mask is that of the",
        ),
        ("no_gradient", FIRST_OF_SECOND, "no gradient of the reward reached the mask, which therefore means nothing"),
        ("nonfinite_image", FIRST_OF_SECOND, "the response to the image itself is not finite"),
        ("nonfinite_reward", FIRST_OF_SECOND, "the reward of the mask is not finite after the last step"),
        ("unchanged", FIRST_OF_SECOND, "the perturbation changes nothing of the image, so that any other mask would be as good"),
        (
            "depends_on_batch",
            FIRST_OF_SECOND,
            "the response depends on the other images of the batch; switch the model to inference: model.ev",
        ),
    ],
)
def test_each_fault_in_words(field: str, value: Any, message: str) -> None:
    status = Status(**{"nonfinite_step": NEVER, "no_gradient": NO, field: value})
    assert not status.ok
    assert status.message.startswith(f"image 1, area 0: {message}")
    assert len(status.message.splitlines()) == 1


def test_a_mask_that_turned_nonfinite_is_not_also_said_to_lack_a_gradient() -> None:
    status = Status(np.array([-1, 3], np.int32), np.array([True, True]))
    assert [line.split(":")[0] for line in status.message.splitlines()] == ["area 0", "area 1"]


def test_pictures() -> None:
    assert InversionStatus(np.array(4, np.int32)).message.startswith(
        "picture 0: the reward or its gradient was not finite at step 4; the picture is"
    )
