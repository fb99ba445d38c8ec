# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
# ---

# %% [markdown]
# # A sweep, and its report
#
# A sweep explains every picture of a dataset into a store that survives a kill at any moment. Here the dataset is a
# handful of generated scenes; a folder of photographs works in the same way.

# %% tags=["parameters"]
num_steps = 50
limit = 6

# %%
import tempfile
from pathlib import Path

import numpy as np

import extremal_jax as ej

folder = Path(tempfile.mkdtemp())
model = ej.models.load("scenes")
config = ej.Config(num_steps=num_steps)

# %% [markdown]
# The first call is stopped after half of the pictures. The second, with the same arguments, goes on where it stopped.


# %%
def stop(done, total):
    if done >= total // 2:
        raise KeyboardInterrupt


source = ej.data.SceneDataset(limit, seed=5, size=model.input_size)
settings = dict(areas=(0.05, 0.2), targets="top", config=config, batch_size=2)
try:
    ej.sweep(model, source, folder / "sweep", progress=stop, **settings)
except KeyboardInterrupt:
    print("stopped:", ej.open_sweep(folder / "sweep").counts())
found = ej.sweep(model, source, folder / "sweep", **settings)
found.counts()

# %% [markdown]
# Results are read one by one, whatever the size of the store.

# %%
for index in range(limit):
    one = found[index]
    shares = np.asarray(one.rewards / one.image_rewards)
    print(f"{found.names[index]:14} {model.classes[int(one.targets)]:10}", "  ".join(f"{share:.0%}" for share in shares))

# %% [markdown]
# A share above 100 % says that the rest of the scene counts against the class. The picture of the first scene:

# %%
ej.plots.overview(model.preprocess(source[0].image), found[0], model.classes)

# %% [markdown]
# The report is a folder of pages to look through in a browser, which loads nothing from anywhere: [reports](../report.md)
# describes them.

# %%
ej.report.write_sweep(folder / "pages", found, source)
sorted(path.name for path in (folder / "pages").iterdir())
