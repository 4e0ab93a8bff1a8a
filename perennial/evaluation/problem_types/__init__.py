"""How each problem type is measured: a file for each entry of perennial.model.problem_types, of the entry's name."""
