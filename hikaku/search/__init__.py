"""The search: a referee asks Optuna, Ray runs the trials, a recorder writes MLflow, the finalists are judged."""
