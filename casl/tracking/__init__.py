"""MLflow: a mirror of the store there, and all that it says. MLflow itself is imported inside functions only."""
