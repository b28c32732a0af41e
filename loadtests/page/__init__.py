"""results of a folder → one HTML page that needs nothing else, its pictures, Markdown and JSON."""
