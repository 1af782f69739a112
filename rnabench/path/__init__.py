"""What is random: choice layers over named options, and the paths through them. Nothing here knows what is chosen."""
