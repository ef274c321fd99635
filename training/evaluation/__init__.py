"""Quality measured on test sets and clips."""
