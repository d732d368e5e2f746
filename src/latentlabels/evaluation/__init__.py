"""How good predictions and cleaned labels are."""
