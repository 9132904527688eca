"""What a model makes of texts: nats per document and every number made from them; tasks; what it writes."""
