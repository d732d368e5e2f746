"""Cleaned labels as other tools read them, one module a format, and the ways back."""
