"""The command `perennial`: from a person's own file to a model that serves, and all that there is to see of it."""
