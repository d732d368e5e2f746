"""Networks that turn an example into potentials."""
