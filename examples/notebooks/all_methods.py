# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
# ---

# %% [markdown]
# # One picture, all methods
#
# Sixteen methods explain the same class of the same scene by the packaged classifier, which needs no extra. The scene is
# generated, so that the object's place is known exactly.

# %% tags=["parameters"]
num_steps = 50
num_masks = 1000
methods = None  # names of some, or None for all

# %%
import numpy as np

import extremal_jax as ej

model = ej.models.load("scenes")
scene = ej.data.scenes.generate(3, 1, objects=2, size=model.input_size)
image, target = model.preprocess(scene.images[0]), int(scene.labels[0].argmax())
place = scene.masks[0, target]
print(model.classes[target])

# %% [markdown]
# Methods differ in their options, which the table of methods lists. Those that explain a layer do so at the last one with
# places.

# %%
given = dict(at="blocks.3", contrast_at="pool", num_masks=num_masks, config=ej.Config(num_steps=num_steps), resize=True)
at_a_layer = {"grad_cam", "grad_cam_plus_plus", "excitation_backprop", "contrastive_excitation_backprop"}
maps = {}
for name in methods or ej.attribution.METHODS:
    method = ej.attribution.METHODS[name]
    options = {key: value for key, value in given.items() if key in method.options and (key != "at" or name in at_a_layer)}
    maps[name] = np.asarray(method.function(model, image, target, **options))

# %%
ej.plots.comparison(scene.images[0], {name.replace("_", " "): values for name, values in maps.items()}, place)

# %% [markdown]
# How much of each map lies on the object, and does its highest point? One scene is an anecdote;
# [evaluation](../evaluation.md) has the tests on datasets.

# %%
for name, values in maps.items():
    share = float(ej.evaluation.energy(values, place))
    hit = bool(ej.evaluation.is_hit(ej.evaluation.highest_point(values), place))
    print(f"{name:34} {share:5.0%} on the object, the highest point {'on' if hit else 'off'} it")
