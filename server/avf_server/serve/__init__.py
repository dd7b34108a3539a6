"""A server as a process: the command, the application, uvicorn under it, and a server inside another program."""
