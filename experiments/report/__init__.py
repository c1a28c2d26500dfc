"""Show a comparison: an HTML page with interactive charts, and plots as PNG."""
