"""Images to explain: image files, generated scenes with exact masks, and datasets with the classes and objects of their images;
clips, volumes and series: their files, and generated ones with exact masks."""

from extremal_jax.data import builders, scenes
from extremal_jax.data.along_time import moving_scenes, series
from extremal_jax.data.coco import COCODataset
from extremal_jax.data.difficult import difficult_pairs
from extremal_jax.data.examples import Dataset, Example, Object
from extremal_jax.data.files import load_array, load_video, load_volume
from extremal_jax.data.images import load_image
from extremal_jax.data.indexables import IndexableDataset
from extremal_jax.data.photographs import PhotographDataset, PictureDataset
from extremal_jax.data.prepared import PreparedDataset
from extremal_jax.data.scene_examples import SceneDataset
from extremal_jax.data.specifications import open_dataset
from extremal_jax.data.voc import VOCDataset

__all__ = [
    "COCODataset",
    "Dataset",
    "Example",
    "IndexableDataset",
    "Object",
    "PhotographDataset",
    "PictureDataset",
    "PreparedDataset",
    "SceneDataset",
    "VOCDataset",
    "builders",
    "difficult_pairs",
    "load_array",
    "load_image",
    "load_video",
    "load_volume",
    "moving_scenes",
    "open_dataset",
    "scenes",
    "series",
]
