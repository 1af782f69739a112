"""Data sets by name, as uint8 images with labels; batches and augmentation on the device."""
