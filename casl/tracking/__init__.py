"""The mirror of a store in MLflow, which is imported inside functions only."""
