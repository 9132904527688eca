"""Files become documents: formats, encodings, rows, Aozora Bunko, the hub."""
