"""The HTTP routes of docs/protocol.md, one subject a file; transports/http.py puts them together."""
