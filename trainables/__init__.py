"""What is trained: corpora, models, methods, the training step, evaluation, and the jobs of a worker."""
