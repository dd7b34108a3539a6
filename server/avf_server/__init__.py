"""The service: sessions of online filtering over HTTP and WebSocket, with beliefs kept in Redis."""
