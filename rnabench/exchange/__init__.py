"""To and from other programs: released checkpoints read and written, networks exported."""
