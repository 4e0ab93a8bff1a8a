"""Perennial: pure functions and frozen models that decide how a model is kept fresh."""

__version__ = "0.1.0"
