"""A local page on which people check proposals, and the file that keeps what they decide."""
