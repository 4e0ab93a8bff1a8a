"""How each problem type is measured: a file for each entry of perennial.model.problem_types, of the entry's name.

`measures.py` says what such a file has to have, `quality.py` has what Model Monitor's format measures.
"""
