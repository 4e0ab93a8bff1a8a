"""Values and encodings: all that travels with a model to where it serves."""
