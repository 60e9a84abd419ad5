"""The client for phones and browsers; it knows the server through its REST interface alone."""
