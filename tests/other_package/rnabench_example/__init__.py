"""A package that brings rnabench one thing of each kind (see entry_points.txt); CONTRIBUTING.md shows its files."""
