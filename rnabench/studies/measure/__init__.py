"""What studies compute, with torch: networks and the paths they are held on, work over a test set, and measures."""
