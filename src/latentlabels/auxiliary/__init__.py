"""Auxiliaries: an RBM, a transition matrix, a regression, and the choice between them."""
