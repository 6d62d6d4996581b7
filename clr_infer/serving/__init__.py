"""Everything of the server's side: what it serves, its models, and the embedded server."""
