"""Loggers by name, a class for each library: `rnabench train --log tensorboard`."""
