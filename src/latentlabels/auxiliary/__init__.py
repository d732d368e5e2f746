"""Where an auxiliary distribution comes from: an RBM, a transition matrix, a regression, and the choice between them."""
