"""Studies: what can be measured of networks besides robustness."""
