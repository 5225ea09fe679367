"""The revisions of the schema in plain SQL, and the program that applies them; nothing else changes the schema."""
