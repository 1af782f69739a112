"""Attacks: a loss, a start, a step and a projection; randomness of the model is a gradient estimator's affair."""
