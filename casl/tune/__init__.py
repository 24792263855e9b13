"""Search over one argument of a stage, with Optuna on top of the store. Optuna itself is imported in study.py only."""
