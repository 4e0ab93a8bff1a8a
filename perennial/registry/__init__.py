"""The versions of a model in the registry."""
