"""What is attacked: a module whose randomness can be drawn, frozen and replayed, and anybody's network as one."""
