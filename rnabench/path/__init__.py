"""What is random: choice layers over named options or seeds, and the paths through them. Nothing here knows what is
chosen."""
