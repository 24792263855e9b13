"""Search over one argument of a stage: Optuna chooses values and keeps the trials, the store keeps what they computed.

tuning: the command as a whole. space, question: which values, and the stages behind each. sampling, trials, storage:
the only files that import Optuna. search: cohorts of trials run step by step and judged.
"""
