"""What is drawn and told from the records; nothing here knows Ray."""
