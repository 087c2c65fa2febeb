"""HTML pages and charts of all reports."""
