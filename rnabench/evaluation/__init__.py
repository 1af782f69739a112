"""Protocols (whose path, when), scoring on fresh draws, intervals, and the engine that puts attacks through them."""
