"""Standard tests of methods and models on a dataset, image by image, and the tables of them."""
