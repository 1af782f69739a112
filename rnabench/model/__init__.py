"""Networks from [0, 1] images to logits, and the randomised classifier that is deployed."""
