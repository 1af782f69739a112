"""Training: objectives, steps, schedules, the loop, and the run folder that it fills and goes on from."""
