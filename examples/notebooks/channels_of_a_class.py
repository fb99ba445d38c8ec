# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
# ---

# %% [markdown]
# # The channels of a class
#
# Which channels of an inner layer stand for a class, and what do they see? The packaged classifier of scenes answers.

# %% tags=["parameters"]
num_steps = 150  # of the pictures that excite a channel
num_scenes = 48
names = ("dog", "wolf", "car", "bus")

# %%
import numpy as np

import extremal_jax as ej

model = ej.models.load("scenes")
scenes = ej.data.scenes.generate(11, num_scenes, objects=1, size=model.input_size)
labels = scenes.labels.argmax(axis=1)
chosen = np.isin(labels, [model.classes.index(name) for name in names])
images, targets = np.stack([model.preprocess(pixels) for pixels in scenes.images[chosen]]), labels[chosen]
print(f"{len(images)} scenes of {len(set(targets.tolist()))} classes")

# %% [markdown]
# ## One image
#
# The sets of 1, 2, 4 ... channels of the layer that excite the image's class most.

# %%
result = ej.channel_perturbation(model, images[0], targets[0], areas=(1, 2, 4, 8, 16, 32), at="blocks.2")
print(f"{model.classes[targets[0]]}: {result.channels(4).tolist()} of {result.masks.shape[-1]} channels excite it most")
ej.plots.channels(result)

# %% [markdown]
# ## The class
#
# A channel stands for a class if it is in the smallest sufficient sets of many of the class's images. A picture that
# excites the channel shows what it sees.

# %%
found = ej.class_channels(model, images, targets, counts=(4, 8, 16, 32, 64), at="blocks.2", threshold=0.9)
tops = np.unique(found.top(3)[found.top(3) >= 0])
excited = ej.maximize_channel(model, tops, at="blocks.2", config=ej.InversionConfig(num_steps=num_steps))
pictures = dict(zip(tops.tolist(), np.asarray(excited.images), strict=True))
ej.plots.class_channels(found, pictures, 3, model.classes)
