"""What can be measured of networks and machines besides robustness."""
