# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
# ---

# %% [markdown]
# # Your own model
#
# From a network of your own to its masks: a small Flax network learns to tell discs from crosses in noisy grey images,
# and its masks show whether it looks at the shapes.

# %% tags=["parameters"]
training_steps = 200
num_steps = 50

# %%
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import extremal_jax as ej

# %% [markdown]
# ## The data
#
# A disc or a cross at a random place of 32 × 32 pixels of noise, with one channel.


# %%
def draw(key, count, side=32):
    """Images (count, side, side, 1), labels (count,), and the shapes' masks (count, side, side)."""
    noise, places, kinds = jax.random.split(key, 3)
    labels = jax.random.bernoulli(kinds, shape=(count,)).astype(int)
    centres = jax.random.randint(places, (count, 2), 7, side - 7)[..., None, None]
    y, x = jnp.mgrid[:side, :side]
    dy, dx = jnp.abs(y - centres[:, 0]), jnp.abs(x - centres[:, 1])
    disc = dy**2 + dx**2 <= 25
    cross = (jnp.minimum(dy, dx) <= 1) & (jnp.maximum(dy, dx) <= 6)
    masks = jnp.where(labels[:, None, None] == 0, disc, cross)
    return (masks + 0.5 * jax.random.normal(noise, masks.shape))[..., None], labels, masks


# %% [markdown]
# ## The network, and its training


# %%
class Network(nnx.Module):
    classes = ("disc", "cross")  # so that targets can be names

    def __init__(self, rngs):
        self.first = nnx.Conv(1, 16, (5, 5), rngs=rngs)
        self.second = nnx.Conv(16, 32, (5, 5), strides=2, rngs=rngs)
        self.head = nnx.Linear(32, 2, rngs=rngs)

    def __call__(self, images):
        x = nnx.relu(self.second(nnx.relu(self.first(images))))
        return self.head(x.max(axis=(1, 2)))


network = Network(nnx.Rngs(0))
optimizer = nnx.Optimizer(network, optax.adam(3e-3), wrt=nnx.Param)


@nnx.jit
def train(network, optimizer, key):
    images, labels, _ = draw(key, 32)

    def loss(network):
        return optax.softmax_cross_entropy_with_integer_labels(network(images), labels).mean()

    optimizer.update(network, nnx.grad(loss)(network))


for step in range(training_steps):
    train(network, optimizer, jax.random.key(step))
images, labels, masks = draw(jax.random.key(10**6), 256)
print(f"{float((network(images).argmax(-1) == labels).mean()):.0%} of new images are right")

# %% [markdown]
# ## Its masks
#
# The network is passed as it is: any function from images to scores is a model.

# %%
result = ej.extremal_perturbation(network, images[:3], labels[:3], areas=(0.05, 0.1, 0.2), config=ej.Config(num_steps=num_steps))
print(result.status)
ej.plots.overview(np.asarray(images[:3]), result, network.classes)

# %% [markdown]
# How much of each mask lies on the shape that is really there?

# %%
for label, mask, place in zip(labels[:3], result.saliency(), masks[:3], strict=True):
    share = float(ej.evaluation.energy(mask, place))
    print(f"{network.classes[int(label)]:6} {share:.0%} of the saliency, on {float(place.mean()):.0%} of the image")
