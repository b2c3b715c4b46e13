"""The loop beside the line: records, watches, asks for labels, refits, proves, promotes, rolls back."""
