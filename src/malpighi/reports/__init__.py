"""Static, self-contained HTML reports and their figures."""
