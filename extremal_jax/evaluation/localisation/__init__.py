"""Whether a map lies on the object: pointing, overlap with regions, grids of images, pasted objects."""
