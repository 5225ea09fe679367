"""Takes submissions in and stores them in natural batches; never acknowledges what is not committed."""
