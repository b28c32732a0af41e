"""other engines behind the web server that people put them behind, in environments of their own."""
