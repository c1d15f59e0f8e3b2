"""HTML pages and Markdown tables."""
