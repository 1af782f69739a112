"""Studies, what can be measured of networks besides robustness: one file each, with all that a study is."""
