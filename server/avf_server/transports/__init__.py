"""How clients reach the service: one file a transport."""
