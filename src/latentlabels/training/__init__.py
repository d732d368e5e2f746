"""Training through Lightning: wiring, and no formula of the model."""
