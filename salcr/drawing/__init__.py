"""The figures, a function each: from small files to a matplotlib figure, no path written."""
