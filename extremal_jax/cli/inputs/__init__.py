"""What the command `explain` takes: files of images, clips, volumes, spectrograms and series."""
