"""What a worker is asked to do: train a trial, measure the base or the test split, export."""
