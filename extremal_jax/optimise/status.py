"""Whether a run went well, and in words what went wrong."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Int

from extremal_jax.ground.html import paragraph
from extremal_jax.ground.pytrees import AnyArray, pytree
from extremal_jax.optimise.solver import NEVER


@pytree()
class Status:
    """Whether a run went well, for each mask or picture.

    Attributes:
      nonfinite_step: (..., K), the first step at which the reward or its gradient was not finite, or −1. The parameters
        stayed as they were from that step on.
      no_gradient: (..., K), whether no gradient of the reward ever came back: the result is where the run started, or
        rounding noise.
      nonfinite_image: (..., K), whether the response to the image itself is not finite.
      depends_on_batch: (..., K), whether the response changed with the other images of the batch, as in training mode.
      nonfinite_reward: (..., K), whether the reward of the result is not finite, though those of all steps were.
      unchanged: (..., K), whether the perturbation changes nothing of the image, so that no mask differs from another.
    """

    nonfinite_step: Int[AnyArray, "*N"]
    no_gradient: Bool[AnyArray, "*N"] | None = None
    nonfinite_image: Bool[AnyArray, "*N"] | None = None
    depends_on_batch: Bool[AnyArray, "*N"] | None = None
    nonfinite_reward: Bool[AnyArray, "*N"] | None = None
    unchanged: Bool[AnyArray, "*N"] | None = None

    what = "mask"  # what was optimised, for the message

    @property
    def ok(self) -> bool:
        """Whether nothing went wrong."""
        return not any(np.any(found) for found, _ in self._faults())

    @property
    def message(self) -> str:
        """What went wrong, and where, in one line for each mask or picture; "finished" if nothing did."""
        lines = [
            (place, sentence) for found, sentence in self._faults() for place in map(tuple, np.argwhere(np.atleast_1d(found)).tolist())
        ]
        steps = np.atleast_1d(np.asarray(self.nonfinite_step))
        return "\n".join(f"{self.place(at)}: {sentence.format(step=steps[at])}" for at, sentence in sorted(lines)) or "finished"

    def place(self, index: tuple[int, ...]) -> str:
        """The name of one mask or picture, by its index."""
        return ", ".join(f"{axis} {i}" for axis, i in zip(("image", "area")[-len(index) :], index, strict=True))

    def _faults(self) -> Iterator[tuple[np.ndarray, str]]:
        """Which masks or pictures have a fault, and the sentence that says so, for each kind of fault."""
        nonfinite = np.asarray(self.nonfinite_step) != NEVER
        yield nonfinite, f"the reward or its gradient was not finite at step {{step}}; the {self.what} is that of the step before"
        unmoved = None if self.no_gradient is None else ~nonfinite & np.asarray(self.no_gradient)
        unchanged = None if self.unchanged is None else np.asarray(self.unchanged) & ~(False if unmoved is None else unmoved)
        for found, sentence in (
            (unmoved, f"no gradient of the reward reached the {self.what}, which therefore means nothing"),
            (self.nonfinite_image, "the response to the image itself is not finite"),
            (self.nonfinite_reward, f"the reward of the {self.what} is not finite after the last step; take fewer steps or a lower rate"),
            (unchanged, f"the perturbation changes nothing of the image, so that any other {self.what} would be as good"),
            (self.depends_on_batch, "the response depends on the other images of the batch; switch the model to inference: model.eval()"),
        ):
            if found is not None:
                yield np.asarray(found), sentence

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        try:
            return f"{type(self).__name__}({self.message!r})"
        except TypeError:  # under a trace, or of a tree of something else than arrays
            return f"{type(self).__name__}({self.nonfinite_step!r})"

    def _repr_html_(self) -> str:
        """What went wrong, for notebooks."""
        return paragraph(*self.message.splitlines())
