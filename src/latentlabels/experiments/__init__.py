"""Comparisons under one protocol, and the demo."""
