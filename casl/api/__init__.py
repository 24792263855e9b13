"""casl from Python: a trained detector on images, and a study as an object. `import casl` has the names of both.

The command line is the same thing for a terminal: `load` is `casl predict`, `Study` is `casl plan`, `run` and `report`.
"""
