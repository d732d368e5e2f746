"""Draws from the model: counter-based random numbers, block Gibbs sweeps and persistent chains."""
