"""The games: which masks are shown to the model, and how the responses combine into the reward.

    preserve:   Φ(m ⊗ x)                     the mask keeps the evidence
    delete:     −Φ((1 − m) ⊗ x)              the mask covers the evidence
    dual:       Φ(m ⊗ x) − Φ((1 − m) ⊗ x)    both at once; the paper's hybrid game

Source: Fong, Patrick and Vedaldi (2019); TorchRay calls the games variants.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


@dataclass(frozen=True)
class Game:
    """One or two terms, each with the mask or its complement, and a sign. To add a game, add a record to `GAMES`.

    Attributes:
      name: the name by which a `Config` asks for it.
      description: one line of help.
      terms: pairs (whether the complement is shown, sign of its response).
      reading: what the reward stands for, in figures and tables.
      sign: of the reward in that reading; −1 where the reward is minus a response.

    Example:
      >>> DUAL.show(jnp.array([[[1.0, 0.25]]])).tolist()
      [[[[1.0, 0.25]]], [[[0.0, 0.75]]]]
      >>> DUAL.combine(jnp.array([[3.0], [1.0]])).tolist()
      [2.0]
    """

    name: str
    description: str
    terms: tuple[tuple[bool, int], ...]
    reading: str = "response"
    sign: int = 1

    def show(self, masks: Float[Array, "*masks H W"]) -> Float[Array, "terms *masks H W"]:
        """The masks that perturb the image, term by term."""
        return jnp.stack([1 - masks if complement else masks for complement, _ in self.terms])

    def combine(self, responses: Float[Array, "terms *masks"]) -> Float[Array, "*masks"]:  # noqa: F821
        """The reward, from the responses to the masks of `show`."""
        signs = jnp.array([sign for _, sign in self.terms], responses.dtype)
        return jnp.tensordot(signs, responses, 1)


PRESERVE = Game("preserve", "the mask keeps the evidence", ((False, 1),))
DELETE = Game("delete", "the mask covers the evidence", ((True, -1),), "response left", -1)
DUAL = Game("dual", "both at once: the mask keeps the evidence, its complement has none", ((False, 1), (True, -1)), "difference")
GAMES = {game.name: game for game in (PRESERVE, DELETE, DUAL)}
