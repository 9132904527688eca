"""What a run is and what it leaves behind: results, metrics, durable files, and the door to MLflow."""
