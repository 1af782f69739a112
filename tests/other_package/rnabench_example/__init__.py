"""A package that brings rnabench a data set, an architecture, an objective and a defence (see entry_points.txt)."""
