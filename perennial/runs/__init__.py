"""A run: its input and configuration, the work it claims, its record, its turn, and the mail that ends it."""
