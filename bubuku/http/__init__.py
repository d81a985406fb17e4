"""The daemon's HTTP: documents (pure), the ASGI application, and the server's thread."""
