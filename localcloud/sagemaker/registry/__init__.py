"""The model registry: groups, and the versions in them that can be approved and deployed."""
