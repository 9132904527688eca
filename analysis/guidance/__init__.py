"""What a person should do: conditions, the decision card, the questions asked, published claims beside the study's figures."""
