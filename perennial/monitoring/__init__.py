"""A window of what serves: collected, labelled, compared with the baselines of its model, and judged."""
