"""The mathematics on tensors: units, the energy, the posterior and their exact twins."""
